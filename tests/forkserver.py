"""`downloader` processes that start in a few hundredths of a second instead of one.

A run imports a thousand modules. `Forked` is a `subprocess.Popen` whose process is forked from a server that has
imported them already; otherwise it is a process like any other: a child of this one, with its own id, streams, signals
and exit status. The first one starts the server, which ends with this process.

Only on Linux, where a process can adopt the child of its child. Elsewhere, with a `preexec_fn`, or with other `PYTHON…`
variables than the server's, the process is started from scratch.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import inspect
import json
import os
import pkgutil
import runpy
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    "aiohttp",
    "anyio._backends._asyncio",
    "concurrent.futures.thread",
    "cryptography.hazmat.primitives.serialization",
    "encodings.ascii",
    "encodings.cp437",
    "encodings.idna",
    "encodings.utf_8_sig",
    "google.auth.jwt",
    "google.oauth2.credentials",
    "google.oauth2.reauth",
    "google.oauth2.service_account",
    "h11",
    "httpcore",
    "httpx",
    "httpx_aiohttp",
    "jinja2",
    "multiprocessing.synchronize",
    "numcodecs",
    "numpy",
    "obstore.store",
    "PIL.Image",
    "pydantic.dataclasses",
    "pyproj",
    "rich.progress",
    "ruamel.yaml.mergevalue",
    "shapely",
    "tenacity",
    "zarr.codecs.numcodecs",
)
_SET_CHILD_SUBREAPER = 36
"""From <linux/prctl.h>."""
_MOST = 1 << 20
"""Bytes of a request: arguments and environment."""


def python_variables(env: dict[str, str]) -> dict[str, str]:
    """Return what the interpreter itself reads as it starts."""
    return {name: value for name, value in env.items() if name.startswith(("PYTHON", "LD_", "OPENBLAS"))}


class _Server:
    """The process from which others are forked, as its parent sees it."""

    def __init__(self, env: dict[str, str]) -> None:
        self.variables = python_variables(env)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forkserver", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=env,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def fork(self, request: dict[str, Any], streams: list[int]) -> int:
        """Have a process forked, under `_lock`; it is a child of this one when its id is returned."""
        self._libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
            answer = self._socket.recv(4)
        finally:
            self._libc.prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if not answer:
            raise RuntimeError("tests.forkserver ended: its standard error says why")
        return int(struct.unpack("i", answer)[0])


_server: _Server | None = None
_lock = threading.Lock()
"""One server, and one process forked at a time: whether this one adopts is a switch of the whole process."""


class Forked(subprocess.Popen):
    """`Popen([sys.executable, "-m", module, …], env=…)`, quicker."""

    def _execute_child(self, *arguments: Any) -> None:
        global _server  # noqa: PLW0603 - one for this process, started when it is needed
        given = inspect.signature(super()._execute_child).bind(*arguments).arguments
        words, env = given["args"], dict(given["env"] or os.environ)
        with _lock:
            if _server is None and sys.platform == "linux":
                _server = _Server(env)
        if (
            _server is None
            or given["preexec_fn"] is not None
            or words[:2] != [sys.executable, "-m"]
            or python_variables(env) != _server.variables
        ):
            super()._execute_child(*arguments)
            return
        pipes = [
            given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        ]
        # -1 stands for the stream of this process.
        streams = [fd if fd != -1 else own for own, fd in enumerate((pipes[0], pipes[3], pipes[5]))]
        cwd = os.fspath(given["cwd"] or Path.cwd())
        try:
            with _lock:
                self.pid = _server.fork({"words": words[2:], "cwd": cwd, "env": env}, streams)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """Wait; a status that is lost is an error, where `Popen` would call it 0."""
        try:
            return os.waitpid(self.pid, wait_flags)
        except ChildProcessError as error:
            raise RuntimeError(
                f"the exit status of process {self.pid} is lost: it is no child of this one"
            ) from error

    def _internal_poll(self, _deadstate: int | None = None, **_: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                pid, status = self._try_wait(os.WNOHANG) if self.returncode is None else (0, 0)
                if pid == self.pid:
                    self._handle_exitstatus(status)
            except RuntimeError:
                if _deadstate is None:
                    raise
                self.returncode = _deadstate  # of a process that nobody waits for any more
            finally:
                self._waitpid_lock.release()
        return self.returncode


def preload() -> None:
    """Import whatever a run may import; not what few runs need, such as Arrow with its threads: memory would be theirs too."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process with threads is not forked safely
    for name in LIBRARIES:
        importlib.import_module(name)
    import downloader

    for module in pkgutil.walk_packages(downloader.__path__, "downloader."):
        if not {"dask", "lazy", "tables", "__main__"} & set(module.name.split(".")):
            importlib.import_module(module.name)
    from downloader.datasets.facts import dataset_facts
    from downloader.job.job import Job

    Job.model_rebuild()  # what a run would otherwise work out at its first look
    dataset_facts("COPERNICUS/S2")
    gc.collect()
    gc.freeze()


def serve(channel: socket.socket) -> list[str] | None:
    """Fork a process for each request until the other side ends.

    Returns:
        None at the end; in a forked process, the module to run and its arguments.
    """
    while True:
        message, streams, _, _ = socket.recv_fds(channel, _MOST, 3)
        if not message:
            return None
        go, ready = os.pipe()
        parent = os.fork()
        if parent == 0:
            child = os.fork()
            if child:
                os.write(ready, struct.pack("i", child))
                os._exit(0)
            channel.close()
            os.close(go)
            os.close(ready)
            request = json.loads(message)
            become(request, streams)
            return request["words"]
        os.waitpid(parent, 0)  # from now on its child has another parent
        channel.send(os.read(go, 4))
        for descriptor in (*streams, go, ready):
            os.close(descriptor)


def become(request: dict[str, Any], streams: list[int]) -> None:
    """Take the folder, the environment and the standard streams that a process was asked for."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    for descriptor in streams:
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - a standard stream
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115


def main() -> None:
    """Serve; in a forked process, run its module as `python -m` does."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    preload()
    words = serve(channel)
    if words is not None:
        sys.argv = words
        try:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        except SystemExit as ended:
            if not isinstance(ended.code, int):
                raise
            leave(ended.code)


def leave(status: int) -> None:
    """End as the interpreter does, but for taking a thousand shared modules apart: that writes to all their memory."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except OSError:
            status = 120  # the interpreter's own
    os._exit(status & 0xFF)


if __name__ == "__main__":
    main()
