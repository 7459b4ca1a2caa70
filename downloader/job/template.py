"""A job file to start from: commented, complete, and one that runs. Its text stands in `template.yaml`."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
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
    """What a first job fetches; what is left out gets a small and sensible value."""

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
        """Whether the job uses the emulator, with no account and no network."""
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
    _check(template)
    bands, box = template.bands, template.bbox
    if bands is None and template.collection is None and template.asset in {None, SCENE}:
        bands = ("B2", "B3", "B4", "B8")
    if template.point is not None:
        box = _square(template.point, template.km)
    chosen = [
        *(["schema"] if modeline else []),
        "head",
        "collection" if template.collection is not None else "asset",
        "file" if template.file is not None else "window" if box is None else "bbox",
        "mosaic",
        "emulator" if template.on_emulator else "service",
        "limits",
    ]
    values = {
        "name": shlex.quote(" ".join(name.split())),
        "collection": _scalar(template.collection or ""),
        "start": _scalar(template.start or ""),
        "end": _scalar(template.end or ""),
        "asset": _scalar(template.asset or SCENE),
        "bands": f"[{', '.join(map(_scalar, bands))}]" if bands else "all",
        "file": _scalar(template.file or ""),
        "bbox": str(list(box or ())),
        "out": _scalar(template.out or f"out/{Path(name).stem}.zarr"),
        "service": _section(
            "service", {"endpoint": template.endpoint, "project": template.project}, "project: my-project"
        ),
        "auth": _section("auth", {"key_file": template.key_file}, "key_file: my-key.json"),
    }
    blocks = _blocks()
    return "".join(Template(blocks[block]).substitute(values) for block in chosen)


def _blocks() -> dict[str, str]:
    """Return the blocks of the template file by name."""
    text = resources.files(__package__).joinpath("template.yaml").read_text("utf-8")
    parts = (part.partition("\n") for part in text.split("=== ")[1:])
    return {name: block for name, _, block in parts}


def _section(name: str, values: Mapping[str, str | None], example: str) -> str:
    """Return a section with the keys that have a value, or a comment that shows one."""
    lines = [f"  {key}: {_scalar(value)}" for key, value in values.items() if value]
    return "\n".join([f"{name}:", *lines] if lines else [f"# {name}:", f"#   {example}"])


def _check(template: JobTemplate) -> None:
    if template.asset and template.collection:
        raise JobError("one image or a collection, not both; leave one out", key="source")
    if template.collection is None and (template.start or template.end):
        raise JobError("start and end go with a collection; name one, or leave them out", key="source")
    if template.collection is not None and not (template.start and template.end):
        raise JobError("a collection needs start and end, such as 2017-04-01 and 2017-05-01", key="source")
    places = [one for one in (template.bbox, template.point, template.file) if one is not None]
    if len(places) > 1:
        raise JobError("one of bbox, point and file; leave the others out", key="region")
    if template.collection is not None and not places:
        raise JobError("a collection needs a place: a bbox, a point or a file", key="region")
    if template.point is not None and not (abs(template.point[1]) < 89 and template.km > 0):
        raise JobError(
            "a point is longitude, latitude in degrees, not at a pole, with a positive size", key="region"
        )


def _square(point: Sequence[float], km: float) -> tuple[float, ...]:
    """Return a square around a point as a box in degrees, to about a metre."""
    longitude, latitude = point
    high = km / 2 / _KM_PER_DEGREE
    wide = high / math.cos(math.radians(latitude))
    corners = (longitude - wide, latitude - high, longitude + wide, latitude + high)
    return tuple(round(value, 5) for value in corners)


def _scalar(value: str) -> str:
    """Return a text as YAML, quoted unless it can mean nothing else."""
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else json.dumps(value)
