"""``python -m aisle``."""

from aisle.cli import main

if __name__ == "__main__":
    main()
