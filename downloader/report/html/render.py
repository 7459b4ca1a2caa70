"""Render values into a page; every text is escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from downloader.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from downloader.report.html.thumbnails import Figure
    from downloader.report.html.tile_maps import TileMap


def render(template: str, **values: Any) -> str:  # whatever the template takes
    """Return a page of `templates/`."""
    return _environment().get_template(template).render(**values)


def figures_html(maps: Sequence[TileMap], pictures: Sequence[Figure] = ()) -> str:
    """Return pictures and maps as markup for a card."""
    # Ids of their own: a notebook is one page.
    return render("figures.html", maps=maps, pictures=pictures, name=uuid4().hex[:8])


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("downloader.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["group_digits"] = lambda number: f"{number:,}"
    return environment


def _visible(value: Any) -> Any:  # noqa: ANN401  # what a template prints
    """Return a text without characters that could reorder or hide a part of it."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
