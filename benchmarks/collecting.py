"""How collecting grows: 10,000 and 100,000 tiny images from a list on loopback, time, memory and journal.

    python benchmarks/collecting.py [--counts 10000 100000] [--out benchmarks/results/collecting.json]

The list is moebooru's, from a server of this script that makes each file as it is asked for. Memory is the peak of the
process that collects, with all that it imports, and of gallery-dl's, as the kernel tells it (VmHWM).
"""

import argparse
import hashlib
import json
import multiprocessing
import re
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from semireal.collect import collector, gallerydl, orders, turns
from semireal.collect.health import Patience
from semireal.collect.source import Source
from semireal.files import write_json

PAGE = 100


def content(number: int) -> bytes:
    """A file: the start of a PNG and its number."""
    return b"\x89PNG\r\n\x1a\n" + str(number).encode()


class Handler(BaseHTTPRequestHandler):
    """The list and the files."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    count = 0

    def do_GET(self) -> None:
        """Answer."""
        url = urlsplit(self.path)
        if url.path == "/post.json":
            first = (int(parse_qs(url.query)["page"][0]) - 1) * PAGE
            numbers = range(first, min(first + PAGE, self.count))
            self._send(json.dumps([_post(number) for number in numbers]).encode(), "application/json")
        elif url.path.startswith("/image/"):
            self._send(content(int(Path(url.path).stem)), "image/png")
        else:
            self.send_error(404)

    def _send(self, body: bytes, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _post(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "md5": hashlib.md5(content(number), usedforsecurity=False).hexdigest(),
        "created_at": 1_600_000_000 + number,
        "tags": "elf portrait long_hair pointed_ears fantasy",
        "author": f"artist {number % 997}",
        "title": f"an elf in the woods, number {number}",
        "license": "CC BY 4.0",
        "source": f"https://example.org/works/{number}",
        "file_url": f"/image/{number}.png",
    }


def serve(count: int, port: Any) -> None:
    """The site, in a process of its own."""
    Handler.count = count
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_address[1])
    server.serve_forever()


def peak(pid: int | str) -> float:
    """Peak memory of a process, MB."""
    try:
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def collect(count: int, port: int, report: Any) -> None:
    """Collect so many files, as a process of its own; report time, memory and the journal's size."""
    child_peak, done = 0.0, threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        url = f"moebooru:http://127.0.0.1:{port}/post?tags=elf"
        defaults = {"limit": None, "per_hour": None, "per_day": None, "pause": None, "licence": None, "options": None}
        source = Source(
            "portrait", url, None, **defaults, noai="respect", ai="reject", hosts=None, file_mb=1, total_gb=1
        )
        files = Path(folder) / "a" / "files"
        order = orders.Order("a", url, gallerydl.configuration(source), files, "127.0.0.1", ["127.0.0.1"])
        found: dict[str, collector.Collector] = {}

        def watch() -> None:
            nonlocal child_peak
            while not done.wait(0.2):
                child = found["a"].reading.child if "a" in found else None
                child_peak = max(child_peak, peak(child.process.pid) if child else 0.0)

        threading.Thread(target=watch, daemon=True).start()
        began, before = time.monotonic(), peak("self")
        turns.collect([order], Patience(minutes=None), {}, orders.CLOCK, found)
        seconds = time.monotonic() - began
        assert found["a"].here == count
        most = peak("self")
        journal = (files.parent / "journal.jsonl").stat().st_size
        began = time.monotonic()
        turns.collect([order], Patience(minutes=None), {}, orders.CLOCK, {})
        done.set()
        report.send(
            {
                "images": count,
                "seconds": round(seconds, 1),
                "images_per_s": round(count / seconds, 1),
                "again_s": round(time.monotonic() - began, 1),  # read the journal, find all there
                "peak_mb": round(most),
                "peak_before_mb": round(before),
                "gallery_dl_mb": round(child_peak),
                "journal_mb": round(journal / 1e6, 1),
            }
        )


def measure(count: int) -> dict[str, Any]:
    """One collection, in fresh processes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    site = context.Process(target=serve, args=(count, theirs), daemon=True)
    site.start()
    process = context.Process(target=collect, args=(count, ours.recv(), theirs))
    process.start()
    result: dict[str, Any] = ours.recv()
    process.join()
    site.terminate()
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rows = [measure(count) for count in given.counts]
    for row in rows:
        print(row)
    if given.out:
        write_json(given.out, {"gallery_dl": gallerydl.VERSION, "rows": rows})


if __name__ == "__main__":
    main()
