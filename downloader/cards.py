"""Cards: what a value shows of itself in a notebook. They take ink and page from the notebook, light or dark, and run no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from downloader.text import visible

_STYLE: Final = """
.eed { max-width: 60rem; font-size: .92em; line-height: 1.45; color: inherit; }
.eed .head { margin: 0 0 .5em; font-size: 1.05em; overflow-wrap: anywhere; }
.eed .head span { opacity: .7; }
.eed dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15em 1.2em; margin: .4em 0; }
.eed dt { grid-column: 1; margin: 0; font-weight: 400; white-space: nowrap; opacity: .7; }
.eed dd { grid-column: 2; margin: 0; overflow-wrap: anywhere; }
.eed .note { margin: .15em 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.eed .wide { overflow-x: auto; }
.eed table { border-collapse: collapse; margin: .5em 0; font-size: 1em; font-variant-numeric: tabular-nums; }
.eed th, .eed td { padding: .2em 1em .2em 0; border: 0; text-align: left !important; vertical-align: top; background: none; }
.eed thead th { font-weight: 400; opacity: .7; }
.eed tbody tr { background: none !important; border-top: 1px solid rgba(128, 128, 128, .35); }
.eed td.number, .eed th.number { text-align: right !important; }
.eed .row { display: flex; flex-wrap: wrap; gap: .8em 2em; align-items: flex-start; }
.eed figure { margin: .5em 0 0; max-width: 100%; }
.eed h3 { margin: 0 0 .3em; font-size: 1em; font-weight: 600; }
.eed figcaption { max-width: 27rem; margin-top: .3em; opacity: .7; }
.eed img { display: block; max-width: 100%; height: auto; }
.eed img.coarse { image-rendering: pixelated; }
.eed .map svg { display: block; max-width: 100%; height: auto; }
.eed ul.key { display: flex; flex-wrap: wrap; gap: 0 1.1em; margin: .4em 0 0; padding: 0; list-style: none; }
.eed ul.key li { display: flex; align-items: center; gap: .45em; margin: 0; }
.eed ul.key svg { flex: none; width: 16px; height: 16px; }
.eed .stored { fill: #3f83cc; } .eed .failed, .eed .hatch-failed-page { fill: #d8492f; }
.eed .hatch-failed-line { stroke: #fff; }
.eed .missing, .eed .hatch-missing-page { fill: rgba(128, 128, 128, .25); }
.eed .hatch-missing-line { stroke: rgba(128, 128, 128, .9); }
.eed .outside_region, .eed .outside_image, .eed .hatch-outside-page { fill: rgba(128, 128, 128, .1); }
.eed .hatch-outside-line { fill: rgba(128, 128, 128, .6); }
.eed .todo { fill: #dd9a35; } .eed .part { fill: #7fabd6; } .eed .ground { fill: #7fb592; fill-rule: evenodd; }
.eed .line { fill: none; stroke-width: 2; } .eed .footprint { stroke: gray; } .eed .region { stroke: currentColor; }
.eed .bar { height: .55em; max-width: 36rem; border-radius: 1em; background: rgba(128, 128, 128, .3); overflow: hidden; }
.eed .bar div { height: 100%; background: #3f83cc; } .eed .bar.over div { background: #3a9a63; }
.eed .bar.stopped div { background: #dd9a35; }
.eed summary { cursor: pointer; margin: .5em 0 .2em; opacity: .8; }
.eed pre { margin: 0; padding: 0; background: none; color: inherit; white-space: pre-wrap; overflow-wrap: anywhere; }
"""

_MOST_ROWS: Final = 20
"""Rows of a table that a card shows."""


def card(kind: str, title: str, *parts: str) -> str:
    """Return a card as HTML.

    Args:
        kind: what the value is, in a word.
        title: which one it is.
        *parts: markup of `facts`, `rows`, `figures` and `folded`; empty ones are left out.
    """
    head = f'<p class="head"><span>{_text(kind)}</span> <strong>{_text(title)}</strong></p>'
    return wrapped(head, *parts)


def wrapped(*parts: str) -> str:
    """Return markup of this module with what it needs to look as it should."""
    return f'<div class="eed"><style>{_STYLE}</style>{"".join(parts)}</div>'


def note(text: str) -> str:
    """Return the markup of a line of text."""
    return f'<p class="note">{_text(text)}</p>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the markup of names and what they stand for; pairs without a text are left out."""
    shown = "".join(f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in pairs if text)
    return f"<dl>{shown}</dl>" if shown else ""


def rows(cells: Sequence[Sequence[str]], header: Sequence[str], most: int = _MOST_ROWS) -> str:
    """Return the markup of a table; of many rows the first ones, and how many there are.

    Args:
        cells: texts, a sequence for each row.
        header: of each column.
        most: rows to show.
    """
    shown = cells[:most]
    is_number = ' class="number"'
    numeric = [bool(shown) and all(row[k][:1].isdigit() for row in shown) for k in range(len(header))]

    def line(texts: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{is_number if right else ''}>{_text(text)}</{tag}>"
            for text, right in zip(texts, numeric, strict=True)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in shown)
    more = len(cells) - len(shown)
    rest = f"<p>… and {more:,} more</p>" if more > 0 else ""
    return (
        f'<div class="wide"><table><thead><tr>{line(header, "th")}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{rest}"
    )


def figures(*markup: str) -> str:
    """Return figures side by side; each is markup already."""
    return f'<div class="row">{"".join(markup)}</div>' if any(markup) else ""


def picture(uri: str, caption: str) -> str:
    """Return the markup of a picture; the caption says what it shows."""
    return f'<figure><img src="{_text(uri)}" alt=""><figcaption>{_text(caption)}</figcaption></figure>'


def folded(title: str, text: str) -> str:
    """Return the markup of a text that is shown when its title is clicked."""
    return f"<details><summary>{_text(title)}</summary><pre>{_text(text)}</pre></details>"


def bar(share: float, kind: str = "") -> str:
    """Return the markup of a bar.

    Args:
        share: filled, 0 to 1.
        kind: `over` or `stopped`; empty while it goes on.
    """
    return f'<div class="bar {_text(kind)}"><div style="width:{100 * min(1.0, max(0.0, share)):.1f}%"></div></div>'


def _text(text: str) -> str:
    return escape(visible(text))
