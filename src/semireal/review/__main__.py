"""`python -m semireal.review`: open the review page in the browser, until Ctrl-C."""

import argparse
import socket
import threading
import webbrowser
from pathlib import Path

from semireal import stage
from semireal.errors import UserError
from semireal.review import server
from semireal.review.collection import CHAIN

PORT = 8650


def main() -> None:
    """Serve the page, print its address and open it."""
    parser = argparse.ArgumentParser(prog="python -m semireal.review", description="Review the images in a browser.")
    parser.add_argument(
        "--stage",
        default=_last(),
        choices=[str(folder) for folder in CHAIN],
        help="show what became of each image up to this stage (default: the last there is)",
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"0 = any free one (default: {PORT})")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    given = parser.parse_args()
    with _listen(given.port) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        app = server.make_app(Path(given.stage), listening.getsockname()[1])
        stage.say(f"{address} shows {given.stage} (Ctrl-C ends)")
        if not given.no_browser:
            # in a thread: a browser of the terminal would not return; it is answered as soon as the server runs
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()
        server.serve(app, listening)


def _last() -> str:
    there = [folder for folder in CHAIN if (folder / "manifest.csv").is_file()]
    return str(there[-1] if there else CHAIN[-1])


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        raise UserError(f"--port {port}: {error}. Choose another, or --port 0 for any free one") from None


if __name__ == "__main__":
    stage.run(main)
