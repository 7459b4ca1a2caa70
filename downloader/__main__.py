"""`python -m downloader`, and the console script `downloader`."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (DESIGN §4)."""
    from downloader.cli import main as command

    return command(argv)


if __name__ == "__main__":
    raise SystemExit(main())
