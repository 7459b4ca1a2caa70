"""Coroutines in a thread: interrupts ask to stop, however they come, and no thread keeps a process that should end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from downloader.engine.stop import Stop
from downloader.engine.sync import in_thread
from tests.harness import ROOT, environment

_SCRIPT = """
import os, signal, sys, threading, time
import anyio, anyio.to_thread
from downloader.engine import stop as stopping, sync
from downloader.engine.stop import Stop

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell in the background ignores it
stop, began, sent = Stop(), threading.Event(), threading.Event()
if sys.argv[1] == "hangs":
    stopping.GRACE_S = sync._PATIENCE_S = 0.5

async def ends():
    began.set()
    await stop.now.wait()
    await anyio.to_thread.run_sync(sent.wait)
    return "ended"

async def hangs():
    began.set()
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(time.sleep, 100)

def interrupt():
    began.wait()
    for _ in range(int(sys.argv[2])):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(float(sys.argv[3]))
    sent.set()

threading.Thread(target=interrupt, daemon=True).start()
print(sync.in_thread(globals()[sys.argv[1]](), stop), stop.reason)
"""


def script(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
        env=environment(),
        check=False,
    )


@pytest.mark.parametrize("between_s", [0.0, 0.0003, 0.01])
def test_interrupts_that_come_together_are_all_heard(between_s):
    """One that came while another was handled left the thread behind, which kept the process."""
    ended = script("ends", 200, between_s)
    assert (ended.returncode, ended.stdout) == (0, "ended interrupted\n"), ended.stderr


def test_a_thread_that_cannot_end_does_not_keep_the_process():
    ended = script("hangs", 30, 0.05)
    assert "KeyboardInterrupt" in ended.stderr
    assert ended.returncode in (128 + signal.SIGINT, -signal.SIGINT)


def test_results_and_errors_come_back_and_the_handler_too():
    async def value() -> int:
        return 7

    async def error() -> None:
        raise LookupError("gone")

    before = signal.getsignal(signal.SIGINT)
    assert in_thread(value(), Stop()) == 7
    with pytest.raises(LookupError, match="gone"):
        in_thread(error(), Stop())
    assert signal.getsignal(signal.SIGINT) is before
