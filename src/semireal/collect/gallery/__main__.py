"""`python -m semireal.collect.gallery`: keep the gallery open until Ctrl-C, for people who want to look."""

import sys
import threading

from semireal.collect.gallery import Gallery


def main() -> None:
    """Print the address and wait."""
    with Gallery() as gallery:
        sys.stdout.write(f"{gallery.url}/post.json?tags=elf+portrait&limit=10 (Ctrl-C ends)\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
