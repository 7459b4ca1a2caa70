"""The real program with a fault of its own: `python -m tests.chaos.wrapped [--FAULT VALUE]… -- run job.yaml …`.

Everything is the downloader's own but for what a flag names; the methods of its disk are wrapped, never replaced.

    --disk slow=S          every object takes S seconds longer
    --disk eio=N           writing the N-th object of pixels fails once with EIO
    --disk eio-from=N      … and all after it
    --disk bandwidth=B     objects are written at B bytes a second
    --disk hang=N          writing the N-th object of pixels never ends
    --die put=N            the process ends, as by SIGKILL, just before the N-th object of pixels is put
    --die stage=N          … when its staging file is written in half
    --die flush=N          … when the N-th commit's objects are put and not yet flushed
    --die line=N           … when they are flushed, and the ledger's line is not written
    --die torn=N           … when half of that line is written
    --clock S@T            after T seconds the monotonic clock is S seconds ahead
    --block S@T            after T seconds the event loop stands still for S seconds
    --grace S              a run that stops drains for S seconds, and saves for as many
    --patience S           waits for tokens, metadata and idle connections are about S seconds
    --no-locks             the file system knows no flock
    --lease S              leases in buckets last S seconds
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from downloader.mosaic.storage import location
from downloader.mosaic.storage.disk import DiskStore


def is_pixels(key: str) -> bool:
    """Whether an object holds pixels of a band."""
    parts = key.split("/")
    return "c" in parts and not {"x", "y", "coverage"} & set(parts)


def die() -> None:
    """End as SIGKILL ends a process: nothing is tidied up."""
    os.kill(os.getpid(), signal.SIGKILL)


class Count:
    """Calls so far, safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n = 0

    def next(self) -> int:
        with self._lock:
            self._n += 1
            return self._n


def around(name: str, wrapper: Callable[..., Any]) -> None:
    """Put `wrapper(original, store, key, …)` around a method of the disk."""
    original = getattr(DiskStore, name)

    def method(self: DiskStore, *arguments: Any) -> Any:
        return wrapper(original, self, *arguments)

    setattr(DiskStore, name, method)


def disk(text: str) -> None:
    kind, _, value = text.partition("=")
    count = Count()

    def slow(put: Any, store: DiskStore, key: str, buffers: Any) -> None:
        time.sleep(float(value))
        put(store, key, buffers)

    def bandwidth(put: Any, store: DiskStore, key: str, buffers: Any) -> None:
        time.sleep(sum(len(b) for b in buffers) / float(value))
        put(store, key, buffers)

    def eio(put: Any, store: DiskStore, key: str, buffers: Any) -> None:
        if is_pixels(key):
            n = count.next()
            if n == int(value) or (kind == "eio-from" and n > int(value)):
                raise OSError(errno.EIO, os.strerror(errno.EIO), key)
        put(store, key, buffers)

    def hang(put: Any, store: DiskStore, key: str, buffers: Any) -> None:
        while is_pixels(key) and count.next() >= int(value):
            time.sleep(3600)
        put(store, key, buffers)

    wrappers = {"slow": slow, "bandwidth": bandwidth, "eio": eio, "eio-from": eio, "hang": hang}
    around("put", wrappers[kind])


def dying(text: str) -> None:
    kind, _, value = text.partition("=")
    count = Count()

    def put(original: Any, store: DiskStore, key: str, buffers: Any) -> None:
        if is_pixels(key) and count.next() == int(value):
            if kind == "stage":
                path = store.path / f"{key}#1"
                path.parent.mkdir(parents=True, exist_ok=True)
                whole = b"".join(bytes(b) for b in buffers)
                path.write_bytes(whole[: len(whole) // 2])
            die()
        original(store, key, buffers)

    def flush(original: Any, store: DiskStore, keys: Any) -> None:
        keys = list(keys)
        if any(map(is_pixels, keys)) and count.next() == int(value):
            die()
        original(store, keys)

    def append(original: Any, store: DiskStore, key: str, data: bytes) -> None:
        if count.next() == int(value):
            if kind == "torn":
                original(store, key, data[: len(data) - len(data.splitlines()[-1]) // 2])
            die()
        original(store, key, data)

    name, wrapper = {
        "put": ("put", put),
        "stage": ("put", put),
        "flush": ("flush", flush),
        "line": ("append", append),
        "torn": ("append", append),
    }[kind]
    around(name, wrapper)


def clock(text: str) -> None:
    """Makes `time.monotonic`, which the event loop reads too, leap."""
    leap, _, after = text.partition("@")
    real, began = time.monotonic, time.monotonic()

    def monotonic() -> float:
        now = real()
        return now + float(leap) if now - began >= float(after) else now

    time.monotonic = monotonic


def block(text: str) -> None:
    """Makes the event loop stand still once, in the middle of a run."""
    import asyncio

    seconds, _, after = text.partition("@")
    original = asyncio.Runner.run

    def run(self: asyncio.Runner, main: Any, **options: Any) -> Any:
        self.get_loop().call_later(float(after), time.sleep, float(seconds))
        return original(self, main, **options)

    asyncio.Runner.run = run


def patience(seconds: float) -> None:
    """Shortens waits that no key of the job file names."""
    from downloader.earthengine import client, timeouts
    from downloader.earthengine.auth import token_http, tokens
    from downloader.flow.retry import RetryPolicy

    names = list(timeouts.Timeouts.__dataclass_fields__)
    defaults = list(timeouts.Timeouts.__init__.__defaults__)
    defaults[names.index("idle_s")] = seconds
    defaults[names.index("connect_s")] = seconds
    defaults[names.index("body_s")] = 4 * seconds
    timeouts.Timeouts.__init__.__defaults__ = tuple(defaults)
    token_http.TokenRequest.__init__.__defaults__ = (seconds,)
    tokens._POLICY = RetryPolicy(retries=5, total_s=4 * seconds)
    tokens._ISSUE_S = 2 * seconds
    client._METADATA = timeouts.Timeouts(first_byte_s=seconds, body_s=2 * seconds)


def grace(seconds: float) -> None:
    """Shortens what a run that was asked to stop waits."""
    from downloader.engine import stop, worker

    stop.GRACE_S = stop._SAVE_S = worker.GRACE_S = seconds


def lease(seconds: float) -> None:
    """Shortens the lease of mosaics in buckets."""
    location.LASTS_S = seconds


def no_locks() -> None:
    """What NFS without a lock daemon answers."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    fcntl.flock = flock


def main() -> int:
    """Set the faults, then run the downloader's own main."""
    split = sys.argv.index("--")
    parser = argparse.ArgumentParser(prog="tests.chaos.wrapped")
    parser.add_argument("--disk", action="append", default=[], type=disk)
    parser.add_argument("--die", action="append", default=[], type=dying)
    parser.add_argument("--clock", type=clock)
    parser.add_argument("--block", type=block)
    parser.add_argument("--patience", type=lambda text: patience(float(text)))
    parser.add_argument("--grace", type=lambda text: grace(float(text)))
    parser.add_argument("--lease", type=lambda text: lease(float(text)))
    parser.add_argument("--no-locks", action="store_true")
    if parser.parse_args(sys.argv[1:split]).no_locks:
        no_locks()
    from downloader.__main__ import main as command

    return command(sys.argv[split + 1 :])


if __name__ == "__main__":
    sys.exit(main())
