"""The server behind the review page: loopback only, for its own page only, nothing but the images of the stages.

No path comes from a request: images are looked up by id. Every request must name the loopback address as its host
(against DNS rebinding) and may not come from another site; a request that changes something must carry the page's
own origin. Other users of the machine are kept out by a token that each start makes anew: it is in the address that is
printed, in a file of ours that the browser opens (everybody sees with what programs are started), and then in a cookie.
Before clients show it they get little, see semireal.review.clients.
"""

import functools
import hmac
import io
import json
import secrets
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image

from semireal import images, params, stage
from semireal.curate import decisions
from semireal.curate.decisions import Decision, Decisions
from semireal.errors import UserError
from semireal.review import clients, collection
from semireal.review.collection import CHAIN, Collection, Item
from semireal.review.painters import Painters

PORT = 8650
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}
FIRST = 120  # images that the page is told about at once, about as many as a large window shows
AT_ONCE = 500  # images that it may ask about in one request
SIZES = {"small": 256, "large": 1024}  # px, longer side
ACTIONS = ("keep", "reject", "photo", "portrait", "clear")
QUESTIONS = 10  # at once, before what was answered teaches something
HALF = 0.5  # what is less likely the character than not
PAINTERS = 2  # each may hold a raw picture of MAX_PIXELS, 2 GB while it is read
MOST_BYTES = 8 * 2**20  # of a request: all ids of some hundred thousand images
ENTER = (
    '<!doctype html><title>semireal</title><link rel="icon" href="/page.svg">'
    '<meta http-equiv="refresh" content="0; url=/">'
)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Review:
    """The state of one page: what it shows, and what can be undone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen = collection.stamp(folder)
        self.shown: Collection = collection.load(folder)
        self.history: list[Decisions] = []

    def load(self) -> dict[str, Any]:
        """What the page needs to begin with; manifests that have changed are read anew, and so are the decisions."""
        seen = collection.stamp(self.folder)
        if seen != self.seen:
            shown = collection.load(self.folder)
            if shown.name != self.shown.name:
                self.history.clear()
            self.seen, self.shown = seen, shown
        shown = self.shown
        decided = decisions.read(decisions.file_of(shown.name))
        return {
            "name": shown.name,
            "stage": str(self.folder),
            "file": str(decisions.file_of(shown.name)),
            "numbers": shown.numbers,
            "images": shown.compact,
            "items": [shown.items[key].public() for key in islice(shown.items, FIRST)],
            "decisions": {key: vars(made) for key, made in decided.items() if key in shown.items},
            "undo": len(self.history),
        }

    def ask(self) -> dict[str, Any]:
        """Whom a person should be asked about next, and what all answers so far say about the others.

        character: for each image the probability that it is the character, None where it was not looked at, or while
        nothing was learned. strangers: those without a decision that are likelier somebody else, the likeliest first.
        wrong: how many of those without an answer are expected to be taken wrongly.
        """
        from semireal.curate import character  # with PyTorch, which would keep the page waiting for seconds

        shown = self.shown
        decided = decisions.read(decisions.file_of(shown.name))
        seen = [item for item in map(shown.items.__getitem__, shown.items) if _is_asked_about(item, decided)]
        known = character.known([item.path for item in seen if item.path], [item.row for item in seen], decided)
        if known is None:
            raise UserError("there are too few heads here to compare them with each other")
        shares = {} if known.learned is None else dict(zip(known.ids, known.learned.round(4).tolist(), strict=True))
        strangers = [key for key in known.ids if shares.get(key, 1) < HALF and key not in decided]
        return {
            "ids": known.to_ask(QUESTIONS),
            "answers": len(known.answers),
            "heads": len(known.ids),
            "strangers": sorted(strangers, key=lambda key: shares[key]),
            "wrong": known.wrong(),
            "character": [shares.get(key) for key in shown.items],
        }

    def items(self, given: Any) -> dict[str, Any]:
        """All that is known of some images; of those that are not here any more nothing."""
        ids = _ids(given)[:AT_ONCE]
        return {"items": [self.shown.items[key].public() for key in ids if key in self.shown.items]}

    def decide(self, given: Any) -> dict[str, Any]:
        """Carry out one action on some images and write it down; the new decisions about them."""
        ids, action, reason = _checked(given, self.shown)
        before, after = decisions.change(self._file(given), ids, lambda _, made: _changed(made, action, reason))
        self.history.append(before)
        return self._answer(after)

    def undo(self, given: Any) -> dict[str, Any]:
        """Take the last action back."""
        path = self._file(given)
        if not self.history:
            return self._answer({})
        last = self.history[-1]
        decisions.change(path, last, lambda key, _: last[key])
        self.history.pop()
        return self._answer(last)

    def _file(self, given: Any) -> Path:
        """The file of decisions, unless params.yaml has moved to another character under the open page."""
        name = params.load(collection.Given).name
        if given.get("name") != name or self.shown.name != name:
            raise web.HTTPConflict(text=f"params.yaml now names {name}: reload the page")
        return decisions.file_of(name)

    def _answer(self, changed: Decisions) -> dict[str, Any]:
        return {"decisions": {key: vars(made) for key, made in changed.items()}, "undo": len(self.history)}


def _is_asked_about(item: Item, decided: Decisions) -> bool:
    """Whether it matters who it is: the other rules keep it, or a person has said something about it."""
    kept = item.row["rules"] in ("", decisions.ANOTHER) or item.row["id"] in decided
    return item.cropped and kept and item.path is not None


def _checked(given: Any, shown: Collection) -> tuple[list[str], str, str]:
    """Ids, action and reason of a request; anything else is refused."""
    action, reason = given.get("action"), given.get("reason", "")
    if action not in ACTIONS:
        raise web.HTTPBadRequest(text=f"action: need one of {', '.join(ACTIONS)}")
    ids = _ids(given)
    for key in ids:
        if key not in shown.items:
            raise web.HTTPNotFound(text=f"no image {key[:80]!a} here: reload the page")
        if not shown.items.is_cropped(shown.items.places[key]):
            raise web.HTTPConflict(text=f"{key}: {shown.items[key].row['reason']}, so there is nothing to decide")
    if not isinstance(reason, str) or len(reason) > decisions.LONGEST_REASON:
        raise web.HTTPBadRequest(text=f"reason: need a text of at most {decisions.LONGEST_REASON} characters")
    return ids, action, " ".join("".join(c if c.isprintable() else " " for c in reason).split())


def _ids(given: Any) -> list[str]:
    ids = given.get("ids")
    if not isinstance(ids, list) or not ids or not all(isinstance(key, str) for key in ids):
        raise web.HTTPBadRequest(text="ids: need a list of texts")
    return ids


def _changed(before: Decision, action: str, reason: str) -> Decision:
    if action == "clear":
        return decisions.NONE
    if action in decisions.DOMAINS:
        return Decision(before.decision, action, before.reason)
    return Decision(action, before.domain, reason)


def make_app(folder: Path, port: int, token: str) -> web.Application:
    """The application that shows `folder` and believes itself to be on 127.0.0.1:`port`, for whoever has the token.

    Raises UserError if the stage has no manifest.
    """
    review = Review(folder)
    painters: Painters[bytes] = Painters(PAINTERS)
    looking: Painters[dict[str, Any]] = Painters(1)  # at all heads, the first time; pictures are painted meanwhile

    async def load(_: web.Request) -> web.Response:
        return web.json_response(review.load(), headers={"Cache-Control": "no-store"})

    async def number(request: web.Request) -> web.Response:
        try:
            return web.json_response(review.shown.number(request.match_info["name"]))
        except KeyError:
            raise web.HTTPNotFound(text="no such number") from None

    async def picture(request: web.Request) -> web.Response:
        item = review.shown.items.get(request.match_info["id"])
        if item is None or item.path is None:
            raise web.HTTPNotFound(text="no such image")
        try:
            data = await painters.paint(functools.partial(render, item.path, SIZES[request.match_info["size"]]))
        except (images.ImageError, OSError) as error:
            raise web.HTTPNotFound(text=str(error)) from None
        # the page asks with a key that changes with the file
        cache = {"Cache-Control": "private, max-age=31536000, immutable"}
        return web.Response(body=data, content_type="image/jpeg", headers=cache)

    def told(act: Callable[[Any], dict[str, Any]]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            if request.content_type != "application/json":
                raise web.HTTPUnsupportedMediaType(text="need application/json")
            try:
                given = json.loads(await clients.body(request))
            except (ValueError, RecursionError):
                raise web.HTTPBadRequest(text="not JSON") from None
            if not isinstance(given, dict):
                raise web.HTTPBadRequest(text="need an object")
            # no await from here on: one change after the other, and the answer only when it is on disk
            return web.json_response(act(given))

        return handle

    async def ask(_: web.Request) -> web.Response:
        return web.json_response(await looking.paint(review.ask))

    async def close(_: web.Application) -> None:
        painters.close()
        looking.close()

    app = web.Application(middlewares=[_guard(port, token)], client_max_size=MOST_BYTES)
    app[clients.KNOWN] = set()
    for url, (name, kind) in PAGE.items():
        app.router.add_get(url, _page(name, kind))
    app.router.add_get("/images", load)
    app.router.add_get("/number/{name}", number)
    app.router.add_post("/items", told(review.items))
    app.router.add_get("/image/{size:small|large}/{id}", picture)
    app.router.add_post("/decide", told(review.decide))
    app.router.add_post("/undo", told(review.undo))
    app.router.add_post("/ask", ask)
    app.on_cleanup.append(close)
    return app


def _page(name: str, kind: str) -> Handler:
    text = resources.files("semireal.review").joinpath("page", name).read_text(encoding="utf-8")

    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=kind, headers={"Cache-Control": "no-cache"})

    return handle


def cookie(port: int) -> str:
    """Name of the cookie with the token: cookies of a host are shared by all its ports."""
    return f"semireal-{port}"


def _guard(port: int, token: str) -> Any:
    """Middleware: refuse strangers, turn a user's mistake into one line, add the headers."""
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
    origins = {f"http://{host}" for host in hosts}

    def known(given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(errors="replace"), token.encode())

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer: web.StreamResponse
        try:
            if request.headers.get("Host", "") not in hosts or not request.raw_path.startswith("/"):
                raise web.HTTPForbidden(text=f"this page is http://127.0.0.1:{port}/ only")
            if request.method == "GET" and request.path == "/" and known(request.query.get("token")):
                # no redirect: where the browser comes from our file, it would not send the new cookie with that
                answer = web.Response(text=ENTER, content_type="text/html", headers={"Cache-Control": "no-store"})
                answer.set_cookie(cookie(port), token, httponly=True, samesite="Strict", path="/")
                answer.headers.update(HEADERS)
                return answer
            # browsers say where a request comes from; "none" is the address bar
            if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
                raise web.HTTPForbidden(text=f"not from another site; open http://127.0.0.1:{port}/ yourself")
            if request.method not in ("GET", "HEAD") and request.headers.get("Origin") not in origins:
                raise web.HTTPForbidden(text="changes only from the page itself")
            if not known(request.cookies.get(cookie(port))):
                raise web.HTTPForbidden(text="open the address that `semireal review` printed, with its token")
            clients.accept(request)
            answer = await handler(request)
        except web.HTTPException as error:
            answer = web.Response(status=error.status, text=error.text)
        except UserError as error:
            answer = web.Response(status=409, text=str(error))
        except OSError as error:
            told = stage.about(error)
            if told is None:
                raise
            answer = web.Response(status=409, text=told)
        answer.headers.update(HEADERS)
        return answer

    return guard


def render(path: Path, side: int) -> bytes:
    """A picture as JPEG, at most `side` px long; raises images.ImageError if it is none."""
    img = Image.fromarray(images.load_rgb(path))
    img.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    img.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def run(folder: Path | None, port: int = PORT, browser: bool = True) -> None:
    """Serve the page until Ctrl-C (KeyboardInterrupt) or SIGTERM (SystemExit), print its address and open it.

    folder: of the last stage whose images are shown; None: the last there is. port: 0 = any free one. Raises UserError.
    """
    folder = folder or _last()
    if folder not in CHAIN:
        raise UserError(f"--stage {folder}: need one of {', '.join(map(str, CHAIN))}")
    with listen(port) as listening:
        own, token = listening.getsockname()[1], secrets.token_urlsafe(32)
        address = f"http://127.0.0.1:{own}/?token={token}"
        app = make_app(folder, own, token)
        stage.say(f"{address} shows {folder} (Ctrl-C ends)")
        with _leading_to(address) as page:
            if browser:
                # in a thread: a browser of the terminal would not return; it is answered as soon as the server runs
                threading.Thread(target=webbrowser.open, args=[page.as_uri()], daemon=True).start()
            clients.serve(app, listening)


@contextmanager
def _leading_to(address: str) -> Iterator[Path]:
    """Give a page, which no other user can read, that leads a browser to an address."""
    folder = stage.work_root() / "review"  # not in /tmp, which a browser of a snap does not see
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    page = folder / "open.html"
    page.write_text(f'<!doctype html><title>semireal</title><meta http-equiv="refresh" content="0; url={address}">')
    try:
        yield page
    finally:
        page.unlink(missing_ok=True)


def _last() -> Path:
    return next((folder for folder in reversed(CHAIN) if (folder / "manifest.csv").is_file()), CHAIN[-1])


def listen(port: int) -> socket.socket:
    """A socket of the loopback address alone; raises UserError if the port is taken or impossible."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {error}. Choose another, or --port 0 for any free one") from None
