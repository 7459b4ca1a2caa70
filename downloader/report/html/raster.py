"""Maps of a plan as a picture, for where no browser is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from downloader.report.html.plan_map import WORDS, Panel
from downloader.report.html.plan_map_cells import KINDS
from downloader.report.html.tile_states import EMPTY

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["drawn"]

_PAPER, _INK, _SOFT, _EDGE = "#ffffff", "#1b2229", "#4d5964", "#c9d1d9"
_COLOURS: Final = {
    "todo": "#e3a13b",
    "stored": "#2f6fb2",
    "part": "#93b7dc",
    "failed": "#c8321f",
    "outside_region": "#eef1f4",
    "outside_image": "#d3d9df",
    "ground": "#a9cdb5",
    "footprint": "#4d5964",
    "region": "#1b2229",
}
"""As in the style sheet."""

_MAP: Final = 520
"""Pixels of a map along its longer side, at most."""

_CELL: Final = 26
"""Pixels of a cell, at most."""

_GAP: Final = 28
_LINE: Final = 20


def drawn(headings: Sequence[str], panels: Sequence[Panel]) -> Image:
    """Headings, and the maps beneath in rows of two, each with its legend."""
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    large, normal = ImageFont.load_default(17), ImageFont.load_default(14)
    pictures = [_picture(panel, normal) for panel in panels]
    rows = [pictures[k : k + 2] for k in range(0, len(pictures), 2)]
    scratch = ImageDraw.Draw(Images.new("RGB", (1, 1)))
    lines = [
        (line, large if first else normal)
        for first, text in ((number == 0, text) for number, text in enumerate(headings))
        for line in _wrapped(text, scratch, large if first else normal, 2 * _MAP + _GAP)
    ]
    top = _GAP + len(lines) * 24 + 12
    width = max(
        [2 * _GAP + max((scratch.textlength(line, font=font) for line, font in lines), default=0)]
        + [_GAP + sum(picture.width + _GAP for picture in row) for row in rows]
    )
    height = top + sum(max(picture.height for picture in row) + _GAP for row in rows)
    image = Images.new("RGB", (round(width), height), _PAPER)
    pen = ImageDraw.Draw(image)
    for number, (line, font) in enumerate(lines):
        pen.text((_GAP, _GAP + 24 * number), line, font=font, fill=_INK if font is large else _SOFT)
    for row in rows:
        left = _GAP
        for picture in row:
            image.paste(picture, (left, top))
            left += picture.width + _GAP
        top += max(picture.height for picture in row) + _GAP
    return image


def _picture(panel: Panel, font: FreeTypeFont | ImageFont) -> Image:
    """A map with its title and its legend."""
    from PIL import Image as Images
    from PIL import ImageDraw

    scale = min(_CELL, _MAP / max(panel.width, panel.height))
    width, height = max(1, round(panel.width * scale)), max(1, round(panel.height * scale))
    legend = [
        (KINDS[kind], WORDS[KINDS[kind]] + ("" if count is None else f": {count:,}"))
        for kind, count in panel.counts
    ]
    edges = [("footprint", panel.footprint), ("region", () if panel.fills_region else panel.region)]
    legend += [(kind, WORDS[kind]) for kind, rings in edges if rings]
    pen = ImageDraw.Draw(Images.new("RGB", (1, 1)))
    notes = _wrapped(panel.note, pen, font, max(width, 360))
    below = height + 34 + _LINE * (len(legend) + len(notes)) + 8
    image = Images.new("RGB", (max(width + 2, 360), below), _PAPER)
    image.paste(_map(panel, width, height, scale), (1, 27))
    pen = ImageDraw.Draw(image)
    pen.text((0, 2), panel.title, font=font, fill=_INK)
    pen.rectangle((0, 26, width + 1, 27 + height), outline=_EDGE)
    top = height + 38
    for kind, text in legend:
        _key(pen, kind, top)
        pen.text((26, top - 2), text, font=font, fill=_INK)
        top += _LINE
    for line in notes:
        pen.text((0, top), line, font=font, fill=_SOFT)
        top += _LINE
    return image


def _map(panel: Panel, width: int, height: int, scale: float) -> Image:
    from PIL import Image as Images
    from PIL import ImageColor, ImageDraw

    palette = np.full((EMPTY + 1, 3), 255, np.uint8)
    palette[: len(KINDS)] = [ImageColor.getrgb(_COLOURS[kind]) for kind in KINDS]
    if panel.cells.size:
        rows = np.minimum((np.arange(height) / scale).astype(int), panel.cells.shape[0] - 1)
        columns = np.minimum((np.arange(width) / scale).astype(int), panel.cells.shape[1] - 1)
        image = Images.fromarray(palette[panel.cells[np.ix_(rows, columns)]], "RGB")
    else:
        image = Images.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(image)
    if panel.fills_region:
        for ring in panel.region:
            pen.polygon(_points(ring, scale), fill=_COLOURS["ground"])
    for kind, rings in (
        ("footprint", panel.footprint),
        ("region", () if panel.fills_region else panel.region),
    ):
        for ring in rings:
            pen.line(_points(ring, scale), fill=_COLOURS[kind], width=2)
    return image


def _points(ring: NDArray[np.float64], scale: float) -> list[tuple[float, float]]:
    return [(x, y) for x, y in (ring * scale).tolist()]


def _key(pen: ImageDraw, kind: str, top: int) -> None:
    if kind in {"footprint", "region"}:
        pen.line((0, top + 7, 16, top + 7), fill=_COLOURS[kind], width=2)
        return
    pen.rectangle((0, top, 14, top + 14), fill=_COLOURS[kind], outline=_EDGE)


def _wrapped(text: str, pen: ImageDraw, font: FreeTypeFont | ImageFont, width: int) -> list[str]:
    """Lines that fit; a word that does not is left as it is."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and pen.textlength(longer, font=font) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
