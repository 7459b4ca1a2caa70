"""Answers to the open points of docs/contract.md §11, from a dozen small requests.

What comes out is text to paste into an issue: what was asked, and what came. Project, account and tokens stay out of it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from downloader._version import versions
from downloader.diagnosis.live.tags import read_tags
from downloader.diagnosis.service import PIXEL, SCENE, Answer, Inquiry
from downloader.earthengine.names import NO_PROJECT
from downloader.earthengine.npy import NpyError, decode

_COLLECTION: Final = SCENE.rpartition("/")[0]
_NOBODYS: Final = "ee-downloader-nosuchproject"
"""A project that nobody has: its name has a form that is allowed."""

_KINDS: Final = ("toUint8", "toInt8", "toInt16", "toInt32", "toFloat", "toDouble")
_LOGIC: Final = ("Image.updateMask", "Image.addBands")

_OCEAN: Final = {
    "int16": ("CGIAR/SRTM90_V4", "elevation"),
    "float": ("ECMWF/ERA5_LAND/MONTHLY_AGGR/202001", "temperature_2m"),
}
"""Kind → an image and its band that is masked in the middle of the Atlantic."""

_NOWHERE: Final = {
    "crsCode": "EPSG:4326",
    "affineTransform": {"scaleX": 0.01, "translateX": -30, "scaleY": -0.01, "translateY": 0},
    "dimensions": {"width": 1, "height": 1},
}


async def ask_open_points(inquiry: Inquiry) -> str:
    """Ask the service, and return the answers as text; what the service does raises nothing."""
    client = inquiry.client
    project = client.project or NO_PROJECT
    lines = [*await _fills(inquiry, project), *await _errors(inquiry), *await _tiff(inquiry)]
    lines += await _picture(inquiry)
    lines += await _listings(inquiry)
    told = ", ".join(f"{name}: {value}" for name, value in sorted(inquiry.headers.items()))
    lines += [
        f"headers besides the usual: {told or 'none'}",
        f"Retry-After: {'seen' if 'retry-after' in inquiry.headers else 'not seen; no quota was exceeded'}",
        "details of E24 and E26, which methods share a rate: not asked, as quotas would have to be exceeded",
    ]
    found = versions()
    head = f"earthengine-downloader {found['earthengine-downloader']}, {client.service_identity}, {inquiry.asked} requests"
    return redacted("\n".join(["```text", head, *lines, "```"]), client.project, client.credentials_in_use)


async def _fills(inquiry: Inquiry, project: str) -> list[str]:
    """Point 1 and 2: what masked pixels hold, by type; and how the NPY is written."""
    body = {"expression": _masked(), "fileFormat": "NPY", "grid": {**PIXEL, "crsCode": "EPSG:32610"}}
    answer = await inquiry.ask("POST", f"projects/{project}/image:computePixels", body=body)
    lines = [f"1 masked, computed: {_npy(answer)}"]
    for kind, (image, band) in _OCEAN.items():
        path = f"projects/earthengine-public/assets/{image}:getPixels"
        body = {"fileFormat": "NPY", "bandIds": [band], "grid": _NOWHERE}
        found = await inquiry.ask("POST", path, body=body, base=inquiry.client.high_volume)
        lines.append(f"1 masked, {kind} of an asset: {_npy(found)}")
    lines.append(f"2 NPY: {_header(answer)}")
    return lines


async def _errors(inquiry: Inquiry) -> list[str]:
    """Point 4: a project that is none, a band that is none, no file format."""
    pixels = f"{SCENE}:getPixels"
    number = {"result": "0", "values": {"0": {"constantValue": 1}}}
    nobody = await inquiry.ask("POST", f"projects/{_NOBODYS}/value:compute", body={"expression": number})
    band = await inquiry.ask("POST", pixels, body={"fileFormat": "NPY", "bandIds": ["B99"], "grid": PIXEL})
    bare = await inquiry.ask("POST", pixels, body={"bandIds": ["B2"], "grid": PIXEL})
    return [
        f"4 unknown project (E22): {_outcome(nobody)}",
        f"4 unknown band (E6): {_outcome(band)}",
        f"4 no fileFormat: {_outcome(bare)}",
    ]


async def _tiff(inquiry: Inquiry) -> list[str]:
    """Points 6 and 7: which grid bands of several resolutions get, and which type; is nodata tagged?"""
    body = {
        "fileFormat": "GEO_TIFF",
        "bandIds": ["B1", "QA20", "B2"],
        "grid": {"dimensions": {"width": 2, "height": 2}},
    }
    answer = await inquiry.ask("POST", f"{SCENE}:getPixels", body=body)
    if not answer.is_good:
        return [f"6, 7 GeoTIFF of B1 (60 m), QA20 (20 m), B2 (10 m), dimensions only: {_outcome(answer)}"]
    try:
        tags = read_tags(answer.body)
    except ValueError as error:
        return [f"6, 7 GeoTIFF: {error}"]
    names = {
        258: "bits", 339: "sample format", 277: "bands", 33550: "pixel scale", 33922: "tie point", 42113: "nodata",
    }  # fmt: skip
    told = "; ".join(f"{name} {_plain(tags[tag])}" for tag, name in names.items() if tag in tags)
    return [f"6, 7 GeoTIFF of B1 (60 m), QA20 (20 m), B2 (10 m), dimensions only: {told}; {answer.kind}"]


async def _picture(inquiry: Inquiry) -> list[str]:
    """Point 2: the content type of a picture."""
    body = {
        "fileFormat": "PNG",
        "bandIds": ["B4", "B3", "B2"],
        "grid": PIXEL,
        "visualizationOptions": {"ranges": [{"min": 0, "max": 3000}]},
    }
    answer = await inquiry.ask("POST", f"{SCENE}:getPixels", body=body)
    return [f"2 PNG: {answer.kind if answer.is_good else _outcome(answer)}"]


async def _listings(inquiry: Inquiry) -> list[str]:
    """Point 8: a page size above the cap, and the order of entries of one time."""
    place = "intersects(\"{'type':'Point','coordinates':[-122.085,37.422]}\")"
    month = f'startTime >= "2017-04-01T00:00:00Z" AND endTime < "2017-05-01T00:00:00Z" AND {place}'
    above = await inquiry.ask(
        "GET", f"{_COLLECTION}:listAssets", params={"pageSize": "5000", "view": "FULL", "filter": month}
    )
    day = 'startTime >= "2017-04-30T19:03:51Z" AND startTime < "2017-04-30T19:03:52Z"'
    same = await inquiry.ask(
        "GET", f"{_COLLECTION}:listAssets", params={"pageSize": "20", "view": "FULL", "filter": day}
    )
    entries = _assets(above)
    size = f"accepted, {len(entries)} entries" if above.is_good else _outcome(above)
    return [f"8 pageSize=5000, FULL: {size}", f"8 entries of one time: {_order(same)}"]


def _order(answer: Answer) -> str:
    if not answer.is_good:
        return _outcome(answer)
    entries = [(str(one.get("startTime")), str(one.get("id") or one.get("name"))) for one in _assets(answer)]
    equal = [(first[1], second[1]) for first, second in itertools.pairwise(entries) if first[0] == second[0]]
    if not equal:
        return f"none among {len(entries)} entries"
    rising = sum(first < second for first, second in equal)
    return f"ids ascend in {rising} of {len(equal)} neighbours"


def _assets(answer: Answer) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(answer.body).get("assets", []) if answer.is_good else []
    except (ValueError, AttributeError):
        return []
    return [one for one in found if isinstance(one, dict)]


def _masked() -> dict[str, Any]:
    """An image of one masked pixel in each type."""

    def call(name: str, **arguments: Any) -> dict[str, Any]:
        return {"functionInvocationValue": {"functionName": name, "arguments": arguments}}

    def constant(value: float) -> dict[str, Any]:
        return call("Image.constant", value={"constantValue": value})

    image: dict[str, Any] | None = None
    for kind in _KINDS:
        one = call(f"Image.{kind}", value=constant(7))
        masked = call("Image.updateMask", image=one, mask=constant(0))
        image = masked if image is None else call("Image.addBands", dstImg=image, srcImg=masked)
    return {"result": "0", "values": {"0": image}}


def _npy(answer: Answer) -> str:
    """The one pixel of an NPY, field by field."""
    if not answer.is_good:
        return _outcome(answer)
    try:
        pixels = decode(answer.body, None, (1, 1))
    except NpyError as error:
        return f"not readable: {error}"
    return ", ".join(f"{pixels.dtype[name].str} {pixels[name][0, 0]}" for name in pixels.dtype.names or ())


def _header(answer: Answer) -> str:
    """Return how the header of an NPY is written."""
    data = answer.body
    if not answer.is_good or not data.startswith(b"\x93NUMPY"):
        return _outcome(answer)
    length = int.from_bytes(data[8:10], "little")
    whole = 10 + length
    padded = next(step for step in (64, 16, 1) if whole % step == 0)
    types = re.findall(r"'([<>|=]?[a-z][0-9]+)'", data[10:whole].decode("latin-1"))
    end = "ends with a line feed" if data[whole - 1 : whole] == b"\n" else "ends without a line feed"
    return (
        f"version {data[6]}.{data[7]}, header of {whole} bytes, a multiple of {padded}, {end}; "
        f"types {' '.join(types)}; {answer.kind}"
    )


def _outcome(answer: Answer) -> str:
    """Status and words of an answer that brought no document."""
    if answer.problem is None:
        return f"200, {answer.kind}, {len(answer.body)} bytes"
    return answer.problem.message


def _plain(values: tuple[float, ...] | str) -> str:
    return values if isinstance(values, str) else "/".join(f"{value:g}" for value in values)


def redacted(text: str, project: str | None, account: str) -> str:
    """The text without the project, its number, and anything that looks like an address or a token."""
    for word in filter(None, (project, *re.findall(r"[\w.+-]+@[\w.-]+", account))):
        text = text.replace(word, "…")
    text = re.sub(r"[\w.+-]+@[\w.-]+\.\w+", "…@…", text)
    text = re.sub(r"(project[_ a-z]*[:= /']*)[0-9]{6,}", r"\1…", text)
    return re.sub(r"ya29\.[\w.-]+|eyJ[\w.-]{20,}", "…", text)
