"""Colour maps for one band: perceptually uniform ones by name, or a list of colours."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from downloader.arguments import check_names
from downloader.errors import JobError

PALETTES: Final = {
    "grey": "000000 ffffff",
    "viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725",
    "magma": "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf",
    "inferno": "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 d24644 e45a31 f1731d f98e09 fcac11 f9cb35 f2ea69 fcffa4",
    "cividis": "00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",
    "greens": "ffffe5 fbfdcf f7fcb9 e8f6ae d9f0a3 c3e698 acdd8e 92d183 77c679 5cb86b 40aa5c 31974f 228343 11753d 006737 005530 004529",
    "red-blue": "67001f 960f27 bb2a34 d25849 e58368 f5ac8b fbceb7 fbe6da f6f7f7 deebf2 c0dceb 98c8e0 68abd0 3e8cbf 2870b1 15508d 053061",
}
"""Name → colours at equal distances, low values first: viridis, magma, inferno and cividis as Matplotlib has them (CC0),
greens and red-blue after ColorBrewer's YlGn and RdBu (Apache 2.0)."""


def lookup(palette: str | Sequence[str]) -> NDArray[np.uint8]:
    """Return 256 colours, (256, 3) uint8, from the lowest value to the highest.

    Args:
        palette: a name of `PALETTES`, with `-r` behind it reversed; or colours at equal distances, at least
            two, as names or hexadecimal (`white,1a9850`), in one text or a sequence.

    Raises:
        JobError: there is no such palette or colour.
    """
    if not isinstance(palette, str):
        check_names(palette, "palette")
    if isinstance(palette, str) and "," not in palette:
        name = palette.strip().lower()
        named = {known: colours.split() for known, colours in PALETTES.items()}
        named |= {f"{known}-r": colours[::-1] for known, colours in named.items()}
        if name not in named:
            near = difflib.get_close_matches(name, named, n=1)
            advice = (
                f"did you mean {near[0]}?" if near else "write one of them, or colours such as white,1a9850"
            )
            raise JobError(f"palette {palette}: is not one of {', '.join(PALETTES)}; {advice}")
        parts = named[name]
    else:
        parts = palette.split(",") if isinstance(palette, str) else list(palette)
        if len(parts) < 2:
            raise JobError(f"palette {palette}: takes at least two colours")
    listed = [_rgb(part.strip()) for part in parts]
    anchors = np.array(listed, np.float64)
    places = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, k]) for k in range(3)]
    return (np.stack(channels, axis=-1) + 0.5).astype(np.uint8)


def _rgb(colour: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        digits = colour.removeprefix("#")
        if len(digits) == 6:
            return tuple(bytes.fromhex(digits))
    except ValueError:
        pass  # six letters may be a name
    try:
        return ImageColor.getrgb(colour)[:3]
    except ValueError:
        raise JobError(
            f"palette: {colour!r} is not a colour; write a name such as white, or six hexadecimal digits such as 1a9850"
        ) from None
