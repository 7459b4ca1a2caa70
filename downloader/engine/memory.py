"""Memory: the size of this process, and the bytes that a job's limit leaves for pixels."""

from __future__ import annotations

import os
import sys

from downloader.errors import JobError
from downloader.planning import Plan
from downloader.planning.shard_size import DEEP_SHARD_SHARE

HEADROOM = 48 * 2**20
"""Bytes kept free for what no budget counts: Python's own objects, the sockets' buffers, encoded copies."""


LISTED = 6_000
"""Bytes that each image of a series takes while lists of them are read, compared, written and drawn. Of 100,000 images the
kernel saw 531 MB in all of a first run, 637 MB of a rerun, each with an HTML report."""

OWN = 256 * 2**20
"""Bytes that this package and its libraries take before a job, at most; beyond that a process holds what is not ours."""


def base_memory(before: int | None = None) -> int:
    """Return the resident bytes of this process that a job's limit counts before a pixel is fetched.

    A library call may come from a process that holds gigabytes of its own (a notebook, a pipeline): they are not the
    job's, and no reason to refuse it. What was added since is: documents of the catalogue, lists of images, the plan.

    Args:
        before: resident bytes when the job began; None if it begins now.
    """
    now = current_memory()
    before = now if before is None else before
    return min(before, OWN) + max(0, now - before)


def needed_memory(plan: Plan) -> int:
    """Return the least bytes for pixels with which a shard can be fetched."""
    need = 0
    for group in plan.groups:
        answer = group.shape[0] * group.shape[1] * group.tiling.tile**2 * group.itemsize * max(1, group.stack)
        need = max(need, 2 * max(group.shard_bytes, answer))
    return need


def pixel_memory(limit: int, plan: Plan, before: int | None = None, workers: int = 1) -> int:
    """Return the bytes of `limit`, the resident bytes that a job may take, which are left for pixels of `plan`.

    Args:
        limit: `limits.memory`.
        plan: what is fetched.
        before: as `base_memory` takes it.
        workers: workers on this machine, among which they are divided.

    Raises:
        JobError: a shard and a request do not fit.
    """
    lists = LISTED * plan.images if plan.axis and before is not None else 0
    rest = max(base_memory(before), min(before or 0, OWN) + lists) + HEADROOM
    have, need = (limit - rest) // workers, needed_memory(plan)
    if have < need:
        # From run to run the process itself takes a few megabytes more or less.
        least = rest + workers * need
        if any(group.tiling.depth > 1 for group in plan.groups):
            # Deep shards grow with the limit: two of them must fit beside the rest then, too.
            least = max(least, rest * DEEP_SHARD_SHARE // (DEEP_SHARD_SHARE - 2))
        total = (least // 2**20 + 8) // 4 * 4
        beside = f" beside the list of {plan.images:,} images" if lists else ""
        shards, fewer = "one shard", ""
        if workers > 1:
            shards, fewer = f"{workers} workers that each hold a shard", ", or fewer workers"
        raise JobError(
            f"{limit // 2**20} MiB is too little for {shards}{beside}; at least {total} MiB are needed{fewer}",
            key="limits.memory",
        )
    return have


def current_memory() -> int:
    """Return the resident bytes of this process."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # no path object for a pseudo file
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return peak_memory()


def peak_memory() -> int:
    """Return the largest resident size of this process, in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123  # as above
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    # Not on Linux: there a process inherits this figure from the one that started it.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
