"""A job file to start from: commented, complete, and one that runs."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from downloader.errors import JobError, RefusedError
from downloader.job import Job
from downloader.job.schema import SCHEMA_ID, job_schema

__all__ = ["SCENE", "SCHEMA_FILE", "Wishes", "init", "schema_text"]

SCENE: Final = "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG"
"""The image of the API's own quickstart; the emulator has it too."""

SCHEMA_FILE: Final = "job.schema.json"
"""What the schema is called that is written beside a job file."""

_KM_PER_DEGREE: Final = 111.32
"""Of latitude; of longitude at the equator."""

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*|[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WORDS: Final = {"true", "false", "null", "all", "none"}

_HEAD: Final = """\
# A job of earthengine-downloader.
#   downloader plan {name}      what it will cost
#   downloader run {name}       fetch; the same command again continues
#   downloader status {name}    how far it is, from another terminal
# Lines that begin with # are comments: take the # away to use what they show.
"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a first job is to fetch; what is left out gets a small and sensible value."""

    asset: str | None = None
    """Id of one image."""
    collection: str | None = None
    """Id of a collection; needs `start`, `end` and a place."""
    start: str | None = None
    """First moment of the period, UTC."""
    end: str | None = None
    """First moment not taken any more."""
    bands: Sequence[str] | None = None
    """None takes all; of the quickstart's scene its four bands of 10 m."""
    bbox: Sequence[float] | None = None
    """West, south, east, north, in degrees."""
    point: Sequence[float] | None = None
    """Longitude and latitude of the middle of a square."""
    km: float = 5.0
    """The length of the square's side, in kilometres."""
    file: str | None = None
    """Vector file of the region."""
    out: str | None = None
    """Where the mosaic goes; a folder beside the job file by default."""
    endpoint: str | None = None
    """As `service.endpoint`; by default the emulator if nothing else is named, else Earth Engine."""
    project: str | None = None
    """Cloud project that is billed."""
    key_file: str | None = None
    """Service account's key file."""

    @property
    def on_emulator(self) -> bool:
        """Whether it fetches made-up pixels, with no account and no network."""
        if self.endpoint is not None:
            return self.endpoint == "emulator"
        return not (self.project or self.key_file or self.asset or self.collection)


def init(
    path: str | os.PathLike[str] = "job.yaml", wishes: Wishes | None = None, *, schema: bool = True
) -> Path:
    """Write a commented job file that runs, and beside it the schema by which editors complete and check it.

    Args:
        path: the file to write; never one that is there already.
        wishes: what it fetches; a small job on the embedded emulator by default.
        schema: write `job.schema.json` beside it.

    Returns:
        The file.

    Raises:
        RefusedError: the file exists.
        JobError: the wishes make no valid job, or the folder does not exist.
    """
    file, wishes = Path(path), wishes or Wishes()
    beside = file.absolute().parent / SCHEMA_FILE
    if not beside.parent.is_dir():
        raise JobError(f"{file}: the folder {beside.parent} does not exist; make it first")
    ours = schema and _may_write(beside)
    text = job_text(wishes, file.name, modeline=ours)
    Job.parse(text, file=str(file), base=beside.parent)
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise RefusedError(f"{file}: exists, and is never overwritten; name another file") from None
    if ours:
        beside.write_text(schema_text(), encoding="utf-8")
    return file


def _may_write(path: Path) -> bool:
    """Whether nothing is there, or an older schema of ours."""
    try:
        there = json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return isinstance(there, dict) and there.get("$id") == SCHEMA_ID


def schema_text() -> str:
    """The JSON Schema of the job file, as it is published and printed."""
    return json.dumps(job_schema(), indent=1, ensure_ascii=False) + "\n"


def job_text(wishes: Wishes, name: str = "job.yaml", *, modeline: bool = True) -> str:
    """The YAML of a first job, with comments.

    Raises:
        JobError: the wishes contradict each other.
    """
    _check(wishes)
    parts = [
        _HEAD.format(name=shlex.quote(" ".join(name.split()))),
        _source(wishes),
        _region(wishes),
        _mosaic(wishes, name),
    ]
    parts += [_service(wishes), _LIMITS]
    first = f"# yaml-language-server: $schema={SCHEMA_FILE}\n" if modeline else ""
    return first + "\n".join(parts)


def _check(wishes: Wishes) -> None:
    if wishes.asset and wishes.collection:
        raise JobError("one image or a collection, not both; leave one out", key="source")
    if wishes.collection is None and (wishes.start or wishes.end):
        raise JobError("start and end go with a collection; name one, or leave them out", key="source")
    if wishes.collection is not None and not (wishes.start and wishes.end):
        raise JobError("a collection needs start and end, such as 2017-04-01 and 2017-05-01", key="source")
    places = [one for one in (wishes.bbox, wishes.point, wishes.file) if one is not None]
    if len(places) > 1:
        raise JobError("one of bbox, point and file; leave the others out", key="region")
    if wishes.collection is not None and not places:
        raise JobError("a collection needs a place: a bbox, a point or a file", key="region")
    if wishes.point is not None and not (abs(wishes.point[1]) < 89 and wishes.km > 0):
        raise JobError(
            "a point is longitude, latitude in degrees, not at a pole, with a positive size", key="region"
        )


def _source(wishes: Wishes) -> str:
    bands = wishes.bands
    if wishes.collection is not None:
        source = (
            "# Whose pixels: every image of a collection with start ≤ time < end (UTC) that meets the region.\n"
            f"source:\n  collection: {_scalar(wishes.collection)}\n"
            f"  start: {_scalar(str(wishes.start))}\n  end: {_scalar(str(wishes.end))}\n"
            "  # filter: CLOUDY_PIXEL_PERCENTAGE < 10    # a condition on the images' properties\n"
            "  # group_by: solar_day    # one slice for each day, mosaicked by the service; default: for each image\n"
        )
    else:
        source = (
            "# Whose pixels: one image. Others are a collection with start and end, a list of images, a composite, an\n"
            f"# expression.\nsource:\n  asset: {_scalar(wishes.asset or SCENE)}\n"
        )
        if wishes.asset in {None, SCENE} and bands is None:
            bands = ("B2", "B3", "B4", "B8")
    return (
        source
        + "  # In the order wanted; all takes every band, each on its own grid.\n"
        + f"  bands: {_listed(bands) if bands else 'all'}\n"
    )


def _region(wishes: Wishes) -> str:
    if wishes.file is not None:
        return (
            "# Where: inside the polygons of a vector file, relative to this one.\nregion:\n"
            f"  file: {_scalar(wishes.file)}\n"
            "  # mask: true    # pixels outside the polygons become nodata\n"
        )
    box = wishes.bbox if wishes.point is None else _square(wishes.point, wishes.km)
    if box is not None:
        return (
            "# Where: [west, south, east, north], x before y whatever the CRS. Every pixel that it touches is taken.\n"
            f"region:\n  bbox: [{', '.join(f'{value!r}' for value in box)}]\n"
            "  # crs: EPSG:32610    # of the bbox; default EPSG:4326, degrees\n"
        )
    return (
        "# Where: a rectangle of the image's own pixels, small for a first try. Instead: bbox, geometry, file, points;\n"
        "# leave region out to take the whole image.\n"
        "region:\n  window: {column: 0, row: 0, width: 1024, height: 1024}\n"
        "  # bbox: [-122.12, 37.38, -122.04, 37.44]    # west, south, east, north in degrees, in place of window\n"
    )


def _mosaic(wishes: Wishes, name: str) -> str:
    out = wishes.out or f"out/{Path(name).stem}.zarr"
    return (
        "# Where to: a folder, relative to this file; or s3://, gs://, az:// with bucket and path.\n"
        f"mosaic:\n  path: {_scalar(out)}\n"
        "  # compressor: zstd    # packs tighter; default lz4 costs less CPU\n"
        "  # mask: any    # keeps the service's own mask beside the pixels, fetched with them\n"
    )


def _service(wishes: Wishes) -> str:
    if wishes.on_emulator:
        return (
            "# From where: the embedded emulator, which makes pixels up, with no account and no network. For Earth Engine\n"
            "# itself: take endpoint away, name your project, and a key file if you did not sign in otherwise\n"
            "# (gcloud auth application-default login, or earthengine authenticate).\n"
            "service:\n  endpoint: emulator\n"
            "#   project: my-project\n# auth:\n#   key_file: my-key.json\n"
        )
    lines = [
        "# Who pays: a Cloud project registered for Earth Engine. Not given: environment, key file, saved credentials."
    ]
    service = [("endpoint", wishes.endpoint), ("project", wishes.project)]
    given = [f"  {key}: {_scalar(value)}" for key, value in service if value]
    lines += ["service:", *given] if given else ["# service:", "#   project: my-project"]
    lines += [
        "# Who asks. Not given: GOOGLE_APPLICATION_CREDENTIALS, application-default, the official client's token."
    ]
    if wishes.key_file:
        lines += ["auth:", f"  key_file: {_scalar(wishes.key_file)}"]
    else:
        lines += ["# auth:", "#   key_file: my-key.json"]
    return "\n".join(lines) + "\n"


_LIMITS: Final = """\
# What a run may use; these are the defaults.
# limits:
#   concurrency: 40            # requests in flight; your project's quota may allow more
#   requests_per_second: 90
#   memory: 1GiB
#   max_bytes: 10GB            # no default: stop, resumable, before more is fetched
"""


def _square(point: Sequence[float], km: float) -> tuple[float, ...]:
    """A square around a point, as a box in degrees, to about a metre."""
    longitude, latitude = point
    high = km / 2 / _KM_PER_DEGREE
    wide = high / math.cos(math.radians(latitude))
    corners = (longitude - wide, latitude - high, longitude + wide, latitude + high)
    return tuple(round(value, 5) for value in corners)


def _listed(values: Sequence[str]) -> str:
    return f"[{', '.join(_scalar(value) for value in values)}]"


def _scalar(value: str) -> str:
    """A text as YAML; quoted unless it is plain beyond doubt."""
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else json.dumps(value)
