"""aiohttp, imported without what it loads for others: it reads the system's certificates twice while it is imported.

Each connection here names its own (`ssl_context`).
"""

# ruff: noqa: PLC0414 - an alias says to mypy that a name is for others

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _lean() -> Iterator[None]:
    """Let this thread read no certificates."""
    ours, read = threading.get_ident(), ssl.SSLContext.set_default_verify_paths

    def skip(context: ssl.SSLContext) -> None:
        if threading.get_ident() != ours:
            read(context)

    ssl.SSLContext.set_default_verify_paths = skip  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ssl.SSLContext.set_default_verify_paths = read  # type: ignore[method-assign]


with _lean():
    import aiohttp as aiohttp
