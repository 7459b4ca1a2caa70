"""Documents of others, changed at random: assets, listings, computed values, token answers, job files.

Each case takes a well-formed document, changes one to four of its members to what nobody should send, and gives its
bytes to the code that reads such bytes, in this process. However it ends, it must end well: see `Case.judge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from downloader.cli.output import complain, say
from downloader.earthengine.auth.find import AuthSettings, FoundCredentials
from downloader.earthengine.auth.issuers import GoogleIssuer, MetadataIssuer
from downloader.earthengine.auth.tokens import TokenSource
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.client import Access, EarthEngine
from downloader.earthengine.documents import ImageReader
from downloader.earthengine.listing import Listing
from downloader.earthengine.query import Query
from downloader.earthengine.transport import Reply
from downloader.errors import DownloadError, exit_status
from downloader.flow.clock import MonotonicClock
from downloader.job import Job
from downloader.job.load import load
from downloader.model.image_query import ImageQuery
from downloader.mosaic.format.layout import MosaicSettings
from downloader.mosaic.open import open_for_writing
from downloader.mosaic.stored_job import freeze
from downloader.planning import Plan
from downloader.report.image_list import images_table
from downloader.report.plan_text import plan_document, plan_lines, remarks
from downloader.report.text import asset_text
from downloader.resolve.resolve import resolve
from downloader.text import visible

ASSET = "COPERNICUS/S2/20170430T190351"
COLLECTION = "COPERNICUS/S2"
PUBLIC = "projects/earthengine-public/assets/"
SECONDS = 5.0
"""Of the processor, that one case may take; most take some thousandths."""
ECHOED = 200
"""Characters of a value that a message may repeat."""
LONGEST = 4_000
"""Characters of a message."""
LINES = 12
"""Lines of a message: one for each mistake of a job file, or each kind of grid."""

LONG = "Q" * 5_000
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**400), 0.5, -0.0, 1e-308, 1e308, -1e308,
    float("inf"), float("-inf"), float("nan"), "", " ", "0", "NaN", "-Infinity", "1e400", "9" * 400, LONG, f"x/{LONG}",
    "{", "{0}", "{x}", "{x.__class__}", "{id!r:>99}", "%s %n %(x)d", "${HOME}", "\x00", "\x1b[2J\x1b]0;x\x07", "\x9b31m",
    "\u202e\u2066gnp.exe", "\u2028\u2029", "\ud800", "a\udfffb", "\u0130", "..", "../../etc/passwd", "/", "a\nb\rc",
    "<script>", "IMAGE", "FOLDER", "IMAGE_COLLECTION", "2017-04-30T19:03:51.123456789Z", "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+23:59", "-1-1-1", "EPSG:4326", "EPSG:0", "SR-ORG:6974", "GEOGCS[", "EPSG:3857", [], {}, [[]],
    [None], [float("nan")], ["x"], [{}], {"": None}, {"a": {"a": {}}}, {"values": [10**400]}, {"min": 10**400},
    {"type": "Point", "coordinates": [1e308, 10**400]},
)  # fmt: skip
RAW = (
    "1e400",
    "-1e999",
    "9" * 5_000,
    "[" * 3_000,
    '{"a":' * 3_000,
    '"\\ud800"',
    '"\\udc00\\ud800"',
    "1" + "0" * 400,
    "nul",
    "'x'",
)
"""What `json.dumps` does not write."""
_RAW_MARK = "@raw:"
_NUMBER = count()

BAND = {
    "id": "B2",
    "dataType": {"precision": "INT", "range": {"max": 65535}},
    "grid": {
        "crsCode": "EPSG:32610",
        "dimensions": {"width": 1830, "height": 915},
        "affineTransform": {"scaleX": 60, "translateX": 499980, "scaleY": -60, "translateY": 4200000},
    },
    "pyramidingPolicy": "MEAN",
    "missingData": {"values": [0]},
}
FOOTPRINT = {
    "type": "Polygon",
    "coordinates": [[[-123.0, 37.0], [-121.0, 37.0], [-121.0, 38.0], [-123.0, 37.0]]],
}
IMAGE = {
    "type": "IMAGE",
    "name": PUBLIC + ASSET,
    "id": ASSET,
    "updateTime": "2019-01-01T00:00:00Z",
    "startTime": "2017-04-30T19:03:51Z",
    "endTime": "2017-04-30T19:03:51Z",
    "sizeBytes": "123456",
    "geometry": FOOTPRINT,
    "properties": {"CLOUDY_PIXEL_PERCENTAGE": 3.5, "MGRS_TILE": "10SEG"},
    "bands": [BAND, {**BAND, "id": "B3", "dataType": {"precision": "FLOAT"}}],
}
PAGE = {
    "assets": [
        IMAGE,
        {**IMAGE, "name": f"{IMAGE['name']}b", "id": f"{ASSET}b", "startTime": "2017-05-01T00:00:00Z"},
    ],
    "nextPageToken": "",
}
COMPUTED = {
    "result": {
        "type": "Image",
        "bands": [
            {
                "id": "nd",
                "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 255},
                "crs": "EPSG:4326",
                "crs_transform": [0.1, 0, -180, 0, -0.1, 90],
                "dimensions": [3600, 1800],
            }
        ],
        "properties": {"system:index": "0"},
    }
}
ELEMENTS = {
    "result": [
        {
            **COMPUTED["result"],
            "id": "A/B/0",
            "version": 1_500_000_000_123_456,
            "properties": {
                "system:index": "0",
                "system:time_start": 1_490_000_000_000,
                "system:time_end": 1_490_000_000_000,
                "system:footprint": {
                    "type": "LinearRing",
                    "coordinates": [[-123, 37], [-122, 37], [-122, 38], [-123, 37]],
                },
            },
        }
    ]
}
TOKEN = {
    "access_token": "ya29.abc",
    "expires_in": 3599,
    "token_type": "Bearer",
    "scope": "x",
    "id_token": "eyJ.x.y",
}
JOB = {
    "source": {"asset": ASSET, "bands": ["B2", "B3"]},
    "region": {"bbox": [-122.2, 37.4, -122.1, 37.5], "crs": "EPSG:4326"},
    "grid": {"crs": "EPSG:32610", "scale": 60},
    "mosaic": {"path": "mosaic.zarr", "mask": "none", "nodata": {"B2": 0}},
    "service": {"endpoint": "http://127.0.0.1:9", "project": "my-project-1"},
    "auth": {"key_file": "key.json"},
    "request": {"timeout": "90s", "tiles": 4},
    "limits": {"memory": "1GiB", "concurrency": 8, "give_up_after": "30s", "retries": 3},
    "executor": {"dask": {"workers": 2}},
}  # fmt: skip


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield from _paths(member, (*path, key))


def _changed(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    head, rest = path[0], path[1:]
    made = dict(value) if isinstance(value, dict) else list(value)
    made[head] = _changed(value[head], rest, change)
    return made


_values = st.one_of(
    st.sampled_from(HOSTILE),
    st.sampled_from(RAW).map(_RAW_MARK.__add__),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)


@st.composite
def changed(draw: Any, document: Any) -> Any:
    """A document with one to four members replaced, renamed, left out, or repeated."""
    for _ in range(draw(st.integers(1, 4))):
        paths = list(_paths(document))
        path = draw(st.sampled_from(paths))
        action = draw(st.sampled_from(("replace", "replace", "replace", "drop", "rename", "repeat")))
        if action == "replace" or not path:
            new = draw(_values)
            document = _changed(document, path, lambda _, new=new: new)
            continue
        *above, key = path
        name = draw(st.sampled_from(("", LONG, "{x}", "\u202e", "id", "type"))) if action == "rename" else ""

        def edit(members: Any, action: str = action, key: Any = key, name: str = name) -> Any:
            if isinstance(members, dict):
                rest = {own: value for own, value in members.items() if own != key}
                return rest if action == "drop" else {**rest, name or f"{key}x": members[key]}
            if action == "repeat":
                return [*members, *[members[key]] * 300]
            return [value for number, value in enumerate(members) if number != key]

        document = _changed(document, tuple(above), edit)
    return document


def to_bytes(document: Any) -> bytes:
    """JSON as a service may write it, with what Python's own writer would not."""
    text = json.dumps(document)
    for raw in RAW:
        text = text.replace(json.dumps(_RAW_MARK + raw), raw)
    return text.encode()


class _Answers:
    """In place of a transport: answers by the end of a path, whatever is asked."""

    def __init__(self, answers: dict[str, bytes]) -> None:
        self._answers = answers

    async def send(self, _method: str, url: str, **_: object) -> Reply:
        path = url.partition("?")[0]
        body = next((body for end, body in self._answers.items() if path.endswith(end)), b"{}")
        return Reply(200, {}, body)


def _client(answers: dict[str, bytes]) -> EarthEngine:
    client = EarthEngine(
        Access(
            AuthSettings("none"),
            standard="http://127.0.0.1:9",
            high_volume="http://127.0.0.1:9",
            patience_s=1e-6,
        )
    )
    client._tokens = TokenSource(FoundCredentials(None, "no credentials"), clock=MonotonicClock())
    client._transport = _Answers(answers)
    return client


def _plan(values: dict[str, Any], answers: dict[str, bytes]) -> None:
    """Resolve and plan a job, and say what was planned, as `downloader plan` does."""
    job = Job.from_dict({"mosaic": {"path": "mosaic.zarr"}, **values})
    resolved = asyncio.run(resolve(job, EarthEngineCatalogue(_client(answers))))
    plan = resolved.plan(job)
    plan.estimate()
    asyncio.run(_make(job, plan))
    say("\n".join([*plan_lines(plan), *remarks(plan, job)]))
    say(json.dumps(plan_document(plan, job)))


async def _make(job: Job, plan: Plan) -> None:
    """Make the mosaic, as a run does before its first request, in memory."""
    settings = MosaicSettings.of(job, plan)
    async with open_for_writing(
        f"memory://{next(_NUMBER)}", plan, settings, service="fuzz", job_text=freeze(job)
    ) as mosaic:
        keys = [key for key, _ in mosaic.store.list("")]
    assert keys
    assert all(part.strip(".") for key in keys for part in key.removeprefix(".").split("/")), keys


def read_asset(body: bytes) -> None:
    """`inspect`, and the plan of a job of one image."""
    client = _client({"": body})
    document = asyncio.run(EarthEngineCatalogue(client).document(ASSET))
    say(asset_text(document))
    say(json.dumps(document, indent=2))
    _plan({"source": {"asset": ASSET}}, {"": body})


def read_listing(body: bytes) -> None:
    """`images`, and the plan of a job of a collection."""
    answers = {":listAssets": body, f"/{COLLECTION}": b'{"type": "IMAGE_COLLECTION"}', "": to_bytes(IMAGE)}
    listing = Listing(_client(answers))
    period = {"start": "2017-01-01", "end": "2018-01-01"}
    cloudy = "CLOUDY_PIXEL_PERCENTAGE"
    say(str(asyncio.run(listing.count(COLLECTION))))
    named = ImageReader(bands=(), keep=(cloudy, "MGRS_TILE"))
    say(
        images_table(
            asyncio.run(listing.select(Query.of(ImageQuery(COLLECTION, **period)), named.read)), (cloudy,)
        )
    )
    reader = ImageReader(footprints=True)
    query = Query.of(ImageQuery(COLLECTION, **period, order_by=f"-{cloudy}"))
    found = asyncio.run(listing.select(query, reader.read))
    say("\n".join(image.id for image in found))
    source = {"collection": COLLECTION, "start": "2017-01-01", "end": "2018-01-01"}
    _plan({"source": source, "region": {"bbox": [-122.2, 37.4, -122.1, 37.5]}}, answers)


def read_collection(body: bytes) -> None:
    """`images` of what should be a collection."""
    listing = Listing(_client({":listAssets": b"{}", "": body}))
    asyncio.run(listing.select(Query(COLLECTION), ImageReader().read))


def read_computed(body: bytes) -> None:
    """The plan of a job of an expression."""
    graph = {
        "result": "0",
        "values": {
            "0": {
                "functionInvocationValue": {
                    "functionName": "Image.load",
                    "arguments": {"id": {"constantValue": ASSET}},
                }
            }
        },
    }
    source = {"expression": json.dumps(graph)}
    _plan({"source": source, "region": {"bbox": [-122.2, 37.4, -122.1, 37.5]}}, {"value:compute": body})


def read_elements(body: bytes) -> None:
    """The plan of a job of an expression of an image collection."""
    load = {"functionName": "ImageCollection.load", "arguments": {"id": {"constantValue": COLLECTION}}}
    graph = {"result": "0", "values": {"0": {"functionInvocationValue": load}}}
    source = {"expression": json.dumps(graph), "order_by": "-system:time_end"}
    _plan({"source": source, "region": {"bbox": [-122.2, 37.4, -122.1, 37.5]}}, {"value:compute": body})


def read_token(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
    """A token of a saved sign-in, and of a machine's own account."""
    from google.oauth2.credentials import Credentials

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

    def client(**options: Any) -> httpx.Client:
        for name in ("mounts", "verify"):
            options.pop(name)
        return real(**options, transport=httpx.MockTransport(answer))

    real = httpx.Client
    saved = Credentials(
        None, refresh_token="1//x", token_uri="https://oauth2.test/token", client_id="x", client_secret="x"
    )
    with mock.patch("httpx.Client", client):
        issuers = (GoogleIssuer(saved, "saved token"), MetadataIssuer("http://metadata.test"))
        for issuer in issuers:
            token = issuer.issue(None)
            assert token.text


def read_job(folder: Path, body: bytes) -> None:
    """A job file, JSON being YAML, and what is asked of a job before anything is sent."""
    file = folder / "job.yaml"
    file.write_bytes(body)
    job = load(file)
    assert job.mosaic_path
    assert hash(job) is not None
    json.dumps(job.model_dump(mode="json"))


KINDS: dict[str, tuple[Any, set[int]]] = {
    "asset": (IMAGE, {2, 4, 6}),
    "listing": (PAGE, {2, 4, 6}),
    "collection": (IMAGE, {2, 4, 6}),
    "computed": (COMPUTED, {2, 4, 6}),
    "elements": (ELEMENTS, {2, 4, 6}),
    "token": (TOKEN, {6}),
    "job": (JOB, {2}),
}
"""Kind → its well-formed document, and the statuses with which it may end."""


@dataclass
class Case:
    """One document, and how its reading ended."""

    kind: str
    body: bytes
    folder: Path
    said: io.StringIO = field(default_factory=io.StringIO)

    def read(self) -> DownloadError | None:
        """Return the error with which the document is refused; None where it is taken. Anything else is raised."""
        readers: dict[str, Callable[[bytes], None]] = {
            "asset": read_asset,
            "listing": read_listing,
            "collection": read_collection,
            "computed": read_computed,
            "elements": read_elements,
            "token": read_token,
            "job": partial(read_job, self.folder),
        }
        with contextlib.redirect_stdout(self.said), contextlib.redirect_stderr(self.said):
            try:
                readers[self.kind](self.body)
            except DownloadError as error:
                complain(str(error))
                return error
        return None

    def judge(self) -> int:
        """Read the document, hold what must hold, and return the exit status."""
        before = _listed(self.folder)
        began = time.process_time()
        error = self.read()
        seconds = time.process_time() - began
        assert seconds < SECONDS, f"took {seconds:.1f} s"
        said = self.said.getvalue()
        assert visible(said) == said, "control or bidirectional characters reach the terminal"
        said.encode()
        assert _listed(self.folder) == before, "something was written"
        if error is None:
            return 0
        message = str(error)
        status = exit_status(error)
        assert status in KINDS[self.kind][1], f"status {status}: {message[:500]}"
        assert message.strip(), "an empty message"
        assert len(message) <= LONGEST, f"{len(message):,} characters: {message[:300]}"
        assert not re.search(f"Q{{{ECHOED + 1}}}", message), f"a value is repeated whole: {message[:300]}"
        assert "<class" not in message, f"a text of others was formatted: {message[:300]}"
        assert message.count("\n") <= LINES, f"{message.count(chr(10))} lines: {message[:300]!r}"
        return status


def _listed(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.name != "job.yaml"}


def run(kind: str, number: int, count: int, folder: Path) -> Counter[int]:
    """Judge `count` documents of a kind, drawn by the seed `number`; return how often each status came.

    Raises:
        AssertionError, or whatever a reader raised that it should not: with the smallest document that does it.
    """
    ends: Counter[int] = Counter()

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=True,
    )
    @given(changed(KINDS[kind][0]).map(to_bytes))
    def judged(body: bytes) -> None:
        ends[Case(kind, body, folder).judge()] += 1

    judged()
    return ends
