"""Who may take how much of the server: every user of the machine reaches it, and most need no token to hold a place.

A client has SECONDS for the headers of a request and as long for the body. There are places for MOST clients; where all
are taken, the oldest of those that never showed the token gives way to the newest, so that no stranger keeps out the
page. What clients do wrong, and that they leave, is no news.
"""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Callable

from aiohttp import web
from aiohttp.http import HttpProcessingError

SECONDS = 10
MOST = 64  # clients; a browser is six
GRACE = 1  # s, for what is under way at the end, and for the rest of a request that was refused
KNOWN = web.AppKey("known", set[web.RequestHandler])  # the clients that have shown the token


def accept(request: web.Request) -> None:
    """Note that the client of this request has shown the token."""
    request.app[KNOWN].add(request.protocol)


async def body(request: web.Request) -> bytes:
    """The body of a request; raises HTTPRequestTimeout, HTTPRequestEntityTooLarge."""
    try:
        async with asyncio.timeout(SECONDS):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the request did not end within {SECONDS} s") from None


def serve(app: web.Application, listening: socket.socket) -> None:
    """Answer on a listening socket until Ctrl-C or SIGTERM, which end in KeyboardInterrupt and SystemExit."""
    received = asyncio.run(_until_signal(app, listening))
    if received == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + received)


async def _until_signal(app: web.Application, listening: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, number)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_logger(),
        keepalive_timeout=SECONDS,  # also of a client that has not sent all headers
        lingering_time=GRACE,
        shutdown_timeout=GRACE,
        handler_cancellation=True,  # who leaves waits for no picture
        auto_decompress=False,
    )
    await runner.setup()
    assert runner.server is not None
    server = await loop.create_server(_door(runner.server, app[KNOWN]), sock=listening)
    try:
        return await signals.get()
    finally:
        server.close()
        await runner.cleanup()


def _door(server: web.Server, known: set[web.RequestHandler]) -> Callable[[], web.RequestHandler]:
    """What makes the other end of a new connection, and takes away old ones where there are too many."""

    def make_room() -> None:
        here = {one: one.transport for one in server.connections if one.transport and not one.transport.is_closing()}
        known.intersection_update(here)
        oldest = sorted(here, key=known.__contains__)  # strangers first, each in the order in which they came
        for one in oldest[: max(len(here) - MOST, 0)]:
            here[one].abort()

    def admit() -> web.RequestHandler:
        asyncio.get_running_loop().call_soon(make_room)  # when those that came with it are there
        return server()

    return admit


def _logger() -> logging.Logger:
    logger = logging.getLogger(__name__)
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether an error is one of this program, and not of a client that sends nonsense or leaves."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)
