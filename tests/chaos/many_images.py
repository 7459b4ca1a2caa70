"""The real program with a catalogue of IMAGES images, made up as it is asked: `python -m tests.chaos.many_images run …`.

IMAGES is a variable of the environment. Prints last what the kernel calls this process's greatest resident size, in bytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from downloader.earthengine.transport import Reply, Transport
from downloader.engine.memory import peak_memory

COLLECTION = "COPERNICUS/MANY"
IMAGES = int(os.environ.get("IMAGES", "100_000"))
PAGE = 500
_MASK = re.compile(r"s\d+m\d+|\w+_mask")
FOOTPRINT = [[[-123.0, 37.0], [-121.0, 37.0], [-121.0, 38.0], [-123.0, 38.0], [-123.0, 37.0]]]
GRID = {
    "crsCode": "EPSG:32610",
    "dimensions": {"width": 1830, "height": 1830},
    "affineTransform": {"scaleX": 60, "translateX": 499980, "scaleY": -60, "translateY": 4200000},
}


def image(number: int) -> dict[str, Any]:
    """The document of an image; each has a time of its own."""
    day, minute = divmod(number, 1_000)
    time = f"2017-{1 + day // 28:02}-{1 + day % 28:02}T{minute // 60:02}:{minute % 60:02}:00Z"
    name = f"{COLLECTION}/{number:06}_{'T10SEG' * 4}"
    return {
        "type": "IMAGE",
        "name": f"projects/earthengine-public/assets/{name}",
        "id": name,
        "updateTime": "2019-01-01T00:00:00Z",
        "startTime": time,
        "endTime": time,
        "geometry": {"type": "Polygon", "coordinates": FOOTPRINT},
        "properties": {"CLOUDY_PIXEL_PERCENTAGE": number % 100, "MGRS_TILE": "10SEG", "PRODUCT_ID": "x" * 60},
        "bands": [
            {"id": band, "dataType": {"precision": "INT", "range": {"max": 65535}}, "grid": GRID}
            for band in ("B2", "B3")
        ],
    }


def answer(url: str, content: bytes | None) -> bytes:
    """What a service that has these images answers."""
    parts = urlsplit(url)
    if parts.path.endswith(":listAssets"):
        query = parse_qs(parts.query or (content or b"").decode())  # a long one is sent as a form
        first = int(query.get("pageToken", ["0"])[0])
        last = min(first + PAGE, IMAGES)
        page = {"assets": [image(number) for number in range(first, last)]}
        return json.dumps({**page, **({"nextPageToken": str(last)} if last < IMAGES else {})}).encode()
    if parts.path.endswith(COLLECTION):
        return json.dumps({"type": "IMAGE_COLLECTION", "id": COLLECTION}).encode()
    if parts.path.endswith("ixels"):
        asked = json.loads(content or b"")
        size = asked["grid"]["dimensions"]
        types = [(band, "|u1" if _MASK.fullmatch(band) else "<u2") for band in asked["bandIds"]]
        pixels = np.ones((size["height"], size["width"]), types)  # nothing is masked
        head = (
            f"{{'descr': {pixels.dtype.descr}, 'fortran_order': False, 'shape': {pixels.shape}, }}\n".encode()
        )
        return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + pixels.tobytes()
    return json.dumps(image(int(parts.path.rpartition("/")[2][:6]))).encode()


async def send(
    _self: Transport, _method: str, url: str, *, content: bytes | None = None, **_: object
) -> Reply:
    """In place of the network."""
    await asyncio.sleep(0)
    return Reply(200, {}, answer(url, content))


def main() -> int:
    """Run the downloader's own main."""
    Transport.send = send
    from downloader.__main__ import main as command

    status = command()
    sys.stdout.write(f"greatest size {peak_memory()}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
