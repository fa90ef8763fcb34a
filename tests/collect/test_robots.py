"""What robots.txt says about training is heeded; its rules for crawlers are not ours."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from semireal.collect import robots
from semireal.collect.robots import refuses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("User-agent: *\nContent-Signal: search=yes, ai-train=no\nAllow: /\n", True),
        ("User-agent: *\nContent-signal: ai-train = no # ours\n", True),
        ("User-Agent: semireal\nContent-Signal: ai-train=no", True),
        ("User-Agent: semireal\nDisallow: /", True),
        ("User-agent: other\nUser-agent: semireal\nDisallow: /", True),
        ("User-agent: *\nDisallow: /\n", False),  # for crawlers
        ("User-agent: *\nDisallow: /w/\n", False),
        ("User-agent: GPTBot\nContent-Signal: ai-train=no\nDisallow: /\n", False),
        ("User-agent: *\nContent-Signal: ai-train=yes, ai-input=no\n", False),
        ("User-agent: semireal\nDisallow:\n", False),
        ("", False),
        ("<html>not found</html>", False),
    ],
)
def test_only_what_is_about_training_counts(text: str, expected: bool) -> None:
    assert refuses(text) == expected


def test_a_redirect_is_followed_within_the_hosts_alone() -> None:
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(f"{self.headers['Host']}{self.path}")
            if self.path == "/robots.txt":
                self.send_response(301)
                self.send_header("Location", f"http://localhost:{port}/other.txt")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"User-agent: semireal\nDisallow: /\n")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"moebooru:http://127.0.0.1:{port}/post?tags=a"
        assert not robots.asked(url, {}, ["127.0.0.1"], requests.Session())
        assert sent == [f"127.0.0.1:{port}/robots.txt"]
        assert robots.asked(url, {}, ["127.0.0.1", "localhost"], requests.Session())
        assert sent[-1] == f"localhost:{port}/other.txt"
        server.shutdown()
