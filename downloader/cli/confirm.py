"""Question before a large run: asked on a terminal, else a notice."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from downloader.events import Notice
from downloader.text import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from downloader.job import Job
    from downloader.planning import Estimate, Plan
    from downloader.protocols import Progress


MANY_BYTES: Final = 50 * 10**9
"""Bytes to download above which a person is asked."""

MANY_REQUESTS: Final = 100_000
"""Requests to send above which a person is asked."""


def somebody_is_there() -> bool:
    """Return whether a person can see a question and answer it."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())


def approval(job: Job, progress: Progress, *, overwrite: bool) -> Callable[[Plan, str], Awaitable[None]]:
    """Return the function that `run` calls with its plan before it writes; it raises `click.Abort` if a person says no.

    Args:
        job: what is to be run.
        progress: told of a large run where nobody can be asked.
        overwrite: whether what is stored will be deleted, and so counts for nothing.
    """

    async def approve(plan: Plan, service: str) -> None:
        whole = plan.estimate()
        if not _is_large(whole):
            return
        left = whole if overwrite else await _left(job, plan, service)
        if not _is_large(left):
            return
        if not somebody_is_there():
            progress(Notice("more than 50 GB or 100,000 requests: on a terminal this is asked first (--yes)"))
            return
        told = (
            f"{size(left.wire_bytes)} in {counted(left.requests, 'request')}, about {duration(left.seconds)}"
        )
        if not await _agreed(f"{told} at the quota, left to download. Continue?"):
            raise click.Abort

    return approve


async def _agreed(question: str) -> bool:
    """Ask, awaiting the answer on the event loop, so that Ctrl-C ends the question as it ends a run."""
    while True:
        click.echo(f"{question} [y/N]: ", nl=False, err=True)
        match (await _line()).strip().lower():
            case "y" | "yes":
                return True
            case "" | "n" | "no":
                return False
        click.echo("answer y or n", err=True)


async def _line() -> str:
    """Return the next line that is typed. A thread would outlive the command for as long as nobody types."""
    loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()
    typed = asyncio.Event()
    try:
        loop.add_reader(terminal, typed.set)
    except NotImplementedError:  # Windows
        return await asyncio.to_thread(sys.stdin.readline)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(terminal)
    return os.read(terminal, 4096).decode(errors="replace")


async def _left(job: Job, plan: Plan, service: str) -> Estimate:
    from downloader.engine.preflight import target_state
    from downloader.errors import DriftError
    from downloader.report.plan_preview import PlanPreview

    try:
        return PlanPreview(job, plan, await target_state(job, plan, service)).left()
    except DriftError:
        return plan.estimate()  # refused in a moment, with the differences


def _is_large(estimate: Estimate) -> bool:
    return estimate.wire_bytes > MANY_BYTES or estimate.requests > MANY_REQUESTS
