"""aiohttp and httpx, imported without what they load for others: a tenth of the processor time of a short run.

aiohttp reads the system's certificates twice while it is imported; each connection here names its own (`ssl_context`).
httpx imports its command line with all of rich, where rich is installed.
"""

# ruff: noqa: PLC0414 - an alias says to mypy that a name is for others

from __future__ import annotations

import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _lean() -> Iterator[None]:
    """Let this thread read no certificates and import no command line of httpx."""
    ours, read = threading.get_ident(), ssl.SSLContext.set_default_verify_paths

    def skip(context: ssl.SSLContext) -> None:
        if threading.get_ident() != ours:
            read(context)

    is_new = "httpx" not in sys.modules
    if is_new:
        sys.modules["httpx._main"] = None  # type: ignore[assignment]  # an ImportError, which httpx expects
    ssl.SSLContext.set_default_verify_paths = skip  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ssl.SSLContext.set_default_verify_paths = read  # type: ignore[method-assign]
        if is_new:
            del sys.modules["httpx._main"]


with _lean():
    import aiohttp as aiohttp
    import httpx as httpx
    from httpx_aiohttp import AiohttpTransport as AiohttpTransport
    from httpx_aiohttp.transport import AiohttpResponseStream as AiohttpResponseStream
