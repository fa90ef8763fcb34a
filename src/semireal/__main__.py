"""`python -m semireal`: the command line."""

from semireal.cli import main

if __name__ == "__main__":
    main()
