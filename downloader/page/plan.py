"""The map of a plan as a file: a page, or a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from downloader.describe import counted, duration, megabytes
from downloader.errors import JobError
from downloader.page.maps import Entry, TileMap
from downloader.page.outline import outlines
from downloader.page.plancells import KINDS
from downloader.page.planmap import WORDS, Panel, panels
from downloader.page.rendering import render
from downloader.plantext import source_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from downloader.prospect import Prospect

__all__ = ["write_map"]


def write_map(prospect: Prospect, output: str | os.PathLike[str]) -> str:
    """Write the map of a plan; returns one line on what it shows.

    Raises:
        JobError: the file's ending is neither `.png` nor `.html`, or it cannot be written.
    """
    file = Path(output)
    if file.suffix not in {".png", ".html"}:
        raise JobError(f"--map {file}: name a file that ends in .png or .html")
    shown = panels(prospect)
    try:
        if file.suffix == ".html":
            file.write_text(_page(prospect, shown) + "\n", encoding="utf-8")
        else:
            from downloader.page.raster import drawn

            drawn(headings(prospect), shown).save(file, format="PNG")
    except OSError as error:
        raise JobError(f"--map {file}: cannot be written: {error.strerror or error}") from error
    return f"{file}: {', '.join(panel.title.lower() for panel in shown)}"


def headings(prospect: Prospect) -> list[str]:
    """What is planned, then what it costs, in a few lines."""
    estimate, standing = prospect.plan.estimate(), prospect.standing
    stored = sum(standing.stored.values())
    there = {
        "new": "nothing is there yet",
        "same": f"{counted(stored, 'tile')} are stored already",
        "extension": f"{counted(stored, 'tile')} are stored already, and this extends it",
        "refused": f"would be refused: {standing.reason}",
    }[standing.state]
    cost = (
        f"{counted(estimate.tiles, 'tile')} in {counted(estimate.requests, 'request')}, "
        f"{megabytes(estimate.wire_bytes)} on the wire, about {duration(estimate.seconds)}"
    )
    return [source_text(prospect.plan), cost, f"{standing.path}: {there}"]


def _page(prospect: Prospect, shown: list[Panel]) -> str:
    title, *facts = headings(prospect)
    return render("plan.html", title=title, facts=facts, maps=[_map(n, p) for n, p in enumerate(shown)])


def _map(number: int, panel: Panel) -> TileMap:
    paths = [(KINDS[kind], d) for kind, d in outlines(panel.cells).items() if kind < len(KINDS)]
    if panel.fills_region:
        paths.append(("ground", "".join(map(_path, panel.region))))
    lines = [(kind, "".join(map(_path, rings))) for kind, rings in _lines(panel) if rings]
    legend = [Entry(KINDS[kind], WORDS[KINDS[kind]], count) for kind, count in panel.counts]
    legend += [Entry(f"line {kind}", WORDS[kind]) for kind, _ in lines]
    counts = ", ".join(
        f"{WORDS[KINDS[kind]]}: {count:,}" for kind, count in panel.counts if count is not None
    )
    words = f"Map. {counts}. {panel.note}" if counts else f"Map. {panel.note}"
    return TileMap(
        f"m{number}", panel.title, words, panel.width, panel.height, tuple(paths), tuple(legend), panel.note,
        tuple(lines),
    )  # fmt: skip


def _lines(panel: Panel) -> list[tuple[str, tuple[NDArray[np.float64], ...]]]:
    return [("footprint", panel.footprint), ("region", () if panel.fills_region else panel.region)]


def _path(ring: NDArray[np.float64]) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in ring.tolist())
