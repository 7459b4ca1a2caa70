"""The tables of docs/scale.md, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from downloader.planning import Plan
from scripts.scaling.books import books_of
from scripts.scaling.stretch import NEAR, SLOW, stretch
from scripts.scaling.undertakings import UNDERTAKINGS, Undertaking, plan_of

__all__ = ["amounts", "bookkeeping", "times"]

STARTS_PER_S = 90.0
"""`limits.requests_per_second`."""


def amounts(undertakings: Sequence[Undertaking] = UNDERTAKINGS) -> str:
    """What there is to fetch; exact."""
    rows = []
    for undertaking in undertakings:
        estimate = plan_of(undertaking).estimate()
        rows.append(
            [
                undertaking.name,
                whole(undertaking.looks),
                whole(estimate.tiles),
                whole(estimate.requests),
                size(estimate.wire_bytes),
            ]
        )
    return table(["", "looks", "tiles", "requests", "on the wire; on disk at most"], rows)


def times(undertakings: Sequence[Undertaking] = UNDERTAKINGS, minutes: float = 3) -> str:
    """How long one project's quota takes; simulated."""
    rows = []
    for undertaking in undertakings:
        plan = plan_of(undertaking)
        estimate = plan.estimate()
        row = [undertaking.name]
        for service in (NEAR, SLOW):
            pace = stretch(plan, service, minutes)
            row += [f"{pace.mb_per_s:,.0f} MB/s", duration(estimate.wire_bytes / 1e6 / pace.mb_per_s)]
        rows.append([*row, duration(estimate.requests / STARTS_PER_S)])
    heads = [f"{service.name}: {what}" for service in (NEAR, SLOW) for what in ("rate", "time")]
    return table(["", *heads, "starts alone, 90 a second"], rows)


def bookkeeping(undertakings: Sequence[Undertaking] = UNDERTAKINGS) -> str:
    """What one mosaic keeps, and what a rerun looks at; closed form."""
    rows = []
    for undertaking in undertakings:
        plan = plan_of(undertaking)
        books = books_of(plan)
        rows.append(
            [
                undertaking.name,
                whole(books.objects),
                size(books.ledger_bytes),
                size(books.state_bytes),
                duration(books.scan_s),
                whole(books.listings),
            ]
        )
    heads = ["objects", "ledger", "memory for what is stored", "start, disk", "listings, bucket"]
    return table(["one mosaic", *heads], rows)


def request_bytes(plan: Plan) -> int:
    """Pixels of one request of the first group."""
    group = plan.groups[0]
    return group.shape[0] * group.shape[1] * group.tiling.tile**2 * group.itemsize


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def whole(number: float) -> str:
    """Three digits that count: 55,200 or 3.37 × 10⁹."""
    if number < 10_000:
        return f"{number:,.0f}"
    if number < 1e6:
        return f"{round(number, -2):,.0f}"
    return f"{number / 1e6:,.3g} million" if number < 1e9 else f"{number / 1e9:,.3g} billion"


def size(nbytes: float) -> str:
    """Decimal units."""
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if nbytes >= factor:
            return f"{nbytes / factor:,.3g} {unit}"
    return f"{nbytes / 1e3:,.3g} kB"


def duration(seconds: float) -> str:
    """In the unit that reads best, with two digits that count or more."""
    for unit, factor in (("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if seconds >= 2 * factor:
            number = seconds / factor
            return f"{number:,.1f} {unit}" if number < 10 else f"{number:,.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.1g} s"
