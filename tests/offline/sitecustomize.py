"""Python loads this by itself when its folder is on PYTHONPATH: gallery-dl without a network.

Each HTTP request is answered from the file $OFFLINE_ANSWERS, a list of {"url": pattern, "status", "json" or "body",
"headers", "times"}; the first that fits counts, "times" as often as
it says. What was asked, and which options gallery-dl has looked up, is written to
$OFFLINE_LOG. A request without an answer fails as if there were no network.
"""

import base64
import json
import os
import re
import socket
from pathlib import Path
from typing import Any


def _note(kind: str, text: str) -> None:
    with Path(os.environ["OFFLINE_LOG"]).open("a") as log:
        log.write(f"{kind} {text}\n")


def answering() -> Any:
    """A `send` for the adapters of requests that answers from the file."""
    import io

    import requests
    import urllib3

    answers = json.loads(Path(os.environ["OFFLINE_ANSWERS"]).read_text())

    def send(self: Any, request: Any, **_: Any) -> Any:
        _note("request", f"{request.method} {request.url} {(request.body or b'')!r}")
        _note("headers", json.dumps(dict(request.headers), default=str))
        for answer in answers:
            if re.search(answer["url"], request.url) and answer.get("times", 1) > 0:
                if "times" in answer:
                    answer["times"] -= 1
                body = base64.b64decode(answer.get("body", "")) or json.dumps(answer.get("json")).encode()
                headers = {"Content-Length": str(len(body))} | answer.get("headers", {})
                raw = urllib3.HTTPResponse(
                    io.BytesIO(body), headers, answer.get("status", 200), reason="x", preload_content=False
                )
                return self.build_response(request, raw)
        raise requests.ConnectionError(f"no answer for {request.url}")

    return send


def _install() -> None:
    import requests
    from gallery_dl import config

    def connect(*_: Any) -> None:
        _note("connect", "")
        raise OSError("no network in this test")

    def noting(look_up: Any, place: int) -> Any:
        """A function of gallery-dl's configuration that also tells which key it is asked for."""

        def noted(*given: Any, **more: Any) -> Any:
            _note("option", given[place])
            return look_up(*given, **more)

        return noted

    for name, place in (("interpolate", 1), ("interpolate_common", 2)):
        setattr(config, name, noting(getattr(config, name), place))
    setattr(requests.adapters.HTTPAdapter, "send", answering())  # noqa: B010
    setattr(socket.socket, "connect", connect)  # noqa: B010


if "OFFLINE_ANSWERS" in os.environ:
    _install()
