"""Cards, the HTML that values show in a notebook. They follow the notebook's light or dark colours and run no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib import resources
from typing import Final

from downloader.text import visible

_MOST_ROWS: Final = 20
"""Rows of a table that a card shows."""


def card(kind: str, title: str, *parts: str) -> str:
    """Return a card as HTML.

    Args:
        kind: kind of the value, in a word.
        title: name of the value.
        *parts: markup of `facts`, `rows`, `figures` and `folded`; empty ones are left out.
    """
    head = f'<p class="head"><span>{_text(kind)}</span> <strong>{_text(title)}</strong></p>'
    return wrapped(head, *parts)


def wrapped(*parts: str) -> str:
    """Return markup of this module within its style."""
    return f'<div class="eed"><style>\n{_style()}</style>{"".join(parts)}</div>'


@cache
def _style() -> str:
    return resources.files(__package__).joinpath("cards.css").read_text("utf-8")


def note(text: str) -> str:
    """Return the markup of a line of text."""
    return f'<p class="note">{_text(text)}</p>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the markup of names and texts; pairs without a text are left out."""
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
