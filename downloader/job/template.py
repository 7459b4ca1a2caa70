"""A job file to start from: commented, complete, and one that runs. Its text stands in `template.yaml`."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from downloader.errors import JobError, RefusedError
from downloader.job import Job
from downloader.job.schema import SCHEMA_ID, job_schema

SCENE: Final = "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG"
"""The image of the API's quickstart; the emulator serves it too."""

SCHEMA_FILE: Final = "job.schema.json"
"""Name of the schema that is written beside a job file."""

_KM_PER_DEGREE: Final = 111.32
"""Length of a degree of latitude, and of longitude at the equator."""

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*|[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WORDS: Final = {"true", "false", "null", "all", "none"}


@dataclass(frozen=True, slots=True)
class JobTemplate:
    """Contents of a first job; what is left out gets a small and sensible value."""

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
    """Path of the mosaic; a folder beside the job file by default."""
    endpoint: str | None = None
    """As `service.endpoint`; by default the emulator if nothing else is named, else Earth Engine."""
    project: str | None = None
    """Cloud project that is billed."""
    key_file: str | None = None
    """Service account's key file."""

    @property
    def on_emulator(self) -> bool:
        """True if the job uses the emulator, with no account and no network."""
        if self.endpoint is not None:
            return self.endpoint == "emulator"
        return not (self.project or self.key_file or self.asset or self.collection)


def init(
    path: str | os.PathLike[str] = "job.yaml", template: JobTemplate | None = None, *, schema: bool = True
) -> Path:
    """Write a commented job file that runs, and beside it the schema by which editors complete and check it.

    Args:
        path: the file to write; never one that is there already.
        template: what it fetches; a small job on the embedded emulator by default.
        schema: write `job.schema.json` beside it.

    Returns:
        The file.

    Raises:
        RefusedError: the file exists.
        JobError: the template makes no valid job, or the folder does not exist.
    """
    file, template = Path(path), template or JobTemplate()
    beside = file.absolute().parent / SCHEMA_FILE
    if not beside.parent.is_dir():
        raise JobError(f"{file}: the folder {beside.parent} does not exist; make it first")
    ours = schema and _may_write(beside)
    text = job_text(template, file.name, modeline=ours)
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
    """Return whether the schema may be written: there is no file, or one that this package wrote."""
    try:
        there = json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return isinstance(there, dict) and there.get("$id") == SCHEMA_ID


def schema_text() -> str:
    """Return the JSON Schema of the job file as text."""
    return json.dumps(job_schema(), indent=1, ensure_ascii=False) + "\n"


def job_text(template: JobTemplate, name: str = "job.yaml", *, modeline: bool = True) -> str:
    """Return the YAML of a first job, with comments.

    Raises:
        JobError: the template contradicts itself.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    box, bands, is_one = template.bbox, template.bands, template.collection is None
    if not is_one and not (template.start and template.end):
        raise JobError("a collection needs start and end, such as 2017-04-01 and 2017-05-01", key="source")
    if template.point is not None:
        if box is not None:
            raise JobError("one of bbox, point and file; leave the others out", key="region")
        box = _square(template.point, template.km)
    if bands is None and is_one and template.asset in {None, SCENE}:
        bands = ("B2", "B3", "B4", "B8")
    source = {key: getattr(template, key) for key in ("asset", "collection", "start", "end")}
    environment = Environment(
        loader=PackageLoader("downloader.job", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # YAML
    )
    environment.filters["yaml"] = _scalar
    return environment.get_template("template.yaml").render(
        asdict(template),
        on_emulator=template.on_emulator,
        modeline=modeline,
        name=shlex.quote(" ".join(name.split())),
        source=source | ({"asset": SCENE} if is_one and template.asset is None else {}),
        bands=bands,
        bbox=list(box or ()),
        out=template.out or f"out/{Path(name).stem}.zarr",
    )


def _square(point: Sequence[float], km: float) -> tuple[float, ...]:
    """Return a square around a point as a box in degrees, to about a metre. Raises JobError."""
    longitude, latitude = point
    if not (abs(latitude) < 89 and km > 0):
        raise JobError(
            "a point is longitude, latitude in degrees, not at a pole, with a positive size", key="region"
        )
    high = km / 2 / _KM_PER_DEGREE
    wide = high / math.cos(math.radians(latitude))
    corners = (longitude - wide, latitude - high, longitude + wide, latitude + high)
    return tuple(round(value, 5) for value in corners)


def _scalar(value: str) -> str:
    """Return a text as YAML, quoted unless it can mean nothing else."""
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else json.dumps(value)
