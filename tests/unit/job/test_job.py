"""The job file: load → dump → load is the identity, and every mistake gets one line that helps."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.errors import JobError
from downloader.job import Job
from downloader.job.sections.source import Source
from downloader.job.yaml import dump, parse
from downloader.model.expression import canonical

BASE = "source: {asset: X}\nmosaic: {path: o}\n"


def load(text: str | bytes, *overrides: str) -> Job:
    return Job.parse(text, "job.yaml", overrides=overrides)


def message(text: str | bytes, *overrides: str) -> str:
    with pytest.raises(JobError) as caught:
        load(text, *overrides)
    assert caught.value.__cause__ is None, "a cause would print the validator's own words, values included"
    return str(caught.value)


# The identity ----------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$"), min_size=1, max_size=30)
odd_texts = st.one_of(
    texts,
    st.sampled_from(
        ["NO", "on", "y", "null", "~", "012", "0o14", "1e3", ".nan", "=", "<<", "- a", "a: b", "#", " x ", "\t", "2020-01-01",
         "'", '"', "\\", "a\nb", "  a  b  ", "é", "🛰", "\x85", "\u2028", "\ufeff", "!tag", "&a", "*a", "%", "@", "`", "|", ">"]
    ),
    st.sampled_from(["${DOWNLOADER_TEST}", "a/${DOWNLOADER_TEST}/b", "${DOWNLOADER_TEST}${DOWNLOADER_TEST}"]),
)  # fmt: skip
numbers = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**9), 10**9))
durations = st.one_of(
    st.sampled_from(["30s", "15m", "2h", "250ms"]), st.floats(0.001, 1e9), st.integers(1, 10**6)
)
sizes = st.one_of(st.sampled_from(["1GiB", "400MB", "1.5GiB"]), st.integers(2**27, 2**60))
positive = st.floats(1e-6, 1e6)
sections = {
    "region": st.one_of(
        st.just({}),
        st.fixed_dictionaries({"window": st.fixed_dictionaries({
            "column": st.integers(-99, 10**9), "row": st.integers(), "width": st.integers(1, 10**9), "height": st.integers(1, 99),
        })}),
        st.sampled_from([{"bbox": [-123.0, 37, -122.5, 37.5]}, {"bbox": [0, 0, 5, 5], "crs": "EPSG:32610"}, {"bbox": ["1", 2, 3, 4]}]),
    ),
    "grid": st.one_of(
        st.just("native"), st.just({}), st.fixed_dictionaries({"resolution": positive}),
        st.fixed_dictionaries({"scale": st.lists(positive, min_size=2, max_size=2)}),
    ),
    "service": st.fixed_dictionaries({}, optional={
        "endpoint": st.sampled_from(["auto", "standard", "high-volume", "emulator", "http://localhost:8080/v1"]),
        "project": odd_texts, "workload_tag": st.sampled_from(["a", "my-tag_1"]),
        "emulator": st.fixed_dictionaries({"rasters": st.dictionaries(odd_texts, odd_texts, max_size=3)}),
    }),
    "auth": st.one_of(
        st.sampled_from(["none", "earthengine", "application_default", {"none": True}]),
        st.fixed_dictionaries({"key_file": odd_texts}),
        st.fixed_dictionaries({"access_token_command": st.lists(odd_texts, min_size=1, max_size=3)}),
    ),
    "request": st.fixed_dictionaries({}, optional={"tiles": st.sampled_from(["auto", 1, 64, "8"]), "timeout": durations}),
    "limits": st.fixed_dictionaries({}, optional={
        "concurrency": st.integers(1, 500), "requests_per_second": st.floats(0.01, 1000), "memory": sizes,
        "retries": st.integers(0, 20), "give_up_after": durations, "max_bytes": sizes, "max_requests": st.integers(1, 10**12),
        "max_time": durations,
    }),
    "executor": st.one_of(
        st.sampled_from(["local", {"dask": {"scheduler": "tcp://scheduler:8786"}}, {"dask": {"scheduler": "tls://[::1]:1"}}]),
        st.fixed_dictionaries({"dask": st.fixed_dictionaries({"workers": st.integers(1, 1000)})}),
    ),
}  # fmt: skip
jobs = st.fixed_dictionaries(
    {
        "source": st.fixed_dictionaries(
            {"asset": odd_texts},
            optional={
                "bands": st.one_of(st.just("all"), st.lists(odd_texts, min_size=1, max_size=5, unique=True))
            },
        ),
        "mosaic": st.fixed_dictionaries(
            {"path": odd_texts.filter(lambda path: "://" not in path and "\0" not in path)},
            optional={
                "nodata": st.one_of(numbers, st.dictionaries(odd_texts, numbers, max_size=3)),
                "profile": st.sampled_from(["sharded", "plain"]),
                "compressor": st.sampled_from(["lz4", "zstd", "none"]),
                "checkpoint": durations,
            },
        ),
    },
    optional=sections,
)


@pytest.fixture(autouse=True, scope="module")
def _variable() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOWNLOADER_TEST", "from-the-environment")
        yield


@given(jobs)
def test_load_dump_load_is_the_identity(values: dict[str, Any]) -> None:
    job = Job.from_dict(values)
    text = job.dump()
    again = load(text)
    assert again == job
    assert hash(again) == hash(job)
    assert again.dump() == text
    assert "from-the-environment" not in text
    assert pickle.loads(pickle.dumps(job)) == job
    # Not through YAML and with nothing written down: the models' own values are dumped.
    bare = Job(**{name: getattr(job, name) for name in job.model_fields_set})
    assert load(bare.dump()) == job


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), numbers, odd_texts), lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(odd_texts, inner, max_size=4)), max_leaves=20))  # fmt: skip
def test_dump_and_parse_are_inverse(value: object) -> None:
    assert repr(parse(dump({"value": value}), "f").values) == repr({"value": value})


def test_variables_stay_as_written_and_their_values_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDS_SECOND", "B3")
    monkeypatch.setenv("HOW_MANY", "7")
    text = (
        BASE.replace("X}", "X, bands: [B2, '${BANDS_SECOND}']}")
        + "limits: {concurrency: '${HOW_MANY}', memory: '${HOW_MANY}GiB'}\n"
    )
    job = load(text)
    assert job.source.bands == ("B2", "B3")
    assert (job.limits.concurrency, job.limits.memory) == (7, 7 * 2**30)
    assert "${BANDS_SECOND}" in job.dump()
    assert "'7'" not in job.dump()
    monkeypatch.setenv("HOW_MANY", "8")
    assert load(job.dump()) != job


def test_equal_jobs_are_equal_however_written() -> None:
    one = load(BASE + "grid: {resolution: 20}\nlimits: {memory: 1024MiB}\n")
    other = load(
        '{"limits": {"memory": "1GiB"}, "grid": {"resolution": [20, 20.0]}, "mosaic": {"path": "o"}, "source": {"asset": "X", "bands": "all"}}'
    )
    assert one == other
    assert one != load(BASE)
    assert one != "job"


def test_nodata_of_nan_equals_itself() -> None:
    job = load(BASE.replace("o}", "o, nodata: .nan}"))
    assert job == load(job.dump())
    assert job.mosaic.nodata != job.mosaic.nodata  # it is NaN indeed


def test_jobs_are_frozen() -> None:
    job = load(BASE)
    with pytest.raises(ValueError, match="frozen"):
        job.source.asset = "Y"  # type: ignore[misc]


def test_plain_python_values_of_the_library_are_taken(tmp_path: Path) -> None:
    job = Job.from_dict(
        {
            "source": {"asset": "X", "bands": ("B2", "B3")},
            "mosaic": {"path": tmp_path / "out", "nodata": np.float32(0.5)},
            "limits": {"concurrency": np.int64(7)},
        }
    )
    assert job.mosaic.path == str(tmp_path / "out")
    assert (job.mosaic.nodata, job.limits.concurrency) == (0.5, 7)
    assert load(job.dump()) == job


def test_a_mapping_is_copied() -> None:
    values: dict[str, Any] = {"source": {"asset": "X"}, "mosaic": {"path": "o"}}
    job = Job.from_dict(values)
    values["source"]["asset"] = "Y"
    assert "asset: X" in job.dump()


def test_a_schema_can_be_made() -> None:
    schema = Job.model_json_schema()
    assert set(schema["required"]) == {"source", "mosaic"}
    assert "how pixels are stored" in schema["$defs"]["MosaicSection"]["description"]


# YAML ------------------------------------------------------------------------------------------------------


def test_yaml_is_1_2() -> None:
    job = load("source: {asset: X, bands: [NO, on, y, off]}\nmosaic: {path: o}\nlimits: {concurrency: 012}")
    assert job.source.bands == ("NO", "on", "y", "off")
    assert job.limits.concurrency == 12


def test_a_byte_order_mark_is_no_key() -> None:
    assert load("\ufeff" + BASE) == load(BASE)


def test_comments_anchors_and_merges_work() -> None:
    job = load(
        "source: {asset: X}\nmosaic: {path: o}\nlimits: &l {retries: 3} # fine\nrequest: {timeout: 5s}\n"
    )
    assert (job.limits.retries, job.request.timeout) == (3, 5.0)


SYNTAX = [
    ("", "job.yaml: is empty"),
    ("# only a comment\n", "job.yaml: is empty"),
    ("- a\n- b", "job.yaml, line 1: a job is keys .* not a list"),
    ("hello", "job.yaml, line 1: a job is keys .* not one value"),
    ("a: b: c", "job.yaml, line 1: not readable as YAML: .*quote texts that contain ': '"),
    ("source:\n\tasset: X", "job.yaml, line 2: .* indent with spaces, not tabs"),
    ("source: {asset: X", "job.yaml, line 1: not readable as YAML"),
    ("a: *nobody", "job.yaml, line 1: .*undefined alias"),
    ("a: 1\n---\nb: 2", "job.yaml, line 2: .* one document"),
    ("limits: {memory: ${SIZE}}", r"job.yaml, line 1: .* quote texts that contain .* '\$\{VAR\}'"),
    ("a: \x00", "job.yaml: not readable as YAML: unacceptable character"),
    ("a: " + "9" * 5000, "job.yaml: not readable as YAML: a number has thousands of digits"),
    ("[" * 5000, "job.yaml: is nested too deeply"),
    ("a:\n" + "".join(" " * n + "a:\n" for n in range(1, 60)), "is nested too deeply"),
    (BASE + "limits:\n  retries: 1\n  memory: 1GiB\n  retries: 2\n", "job.yaml, line 6: 'retries' is given twice; keep one"),
    (BASE + "limits: {1: 2, '1': 3}", "job.yaml, line 3: limits.1: is given twice"),
    (BASE + "? [a, b]\n: c", "a key must be text"),
    (BASE + "limits: !!python/object/apply:os.system [id]", "the tag .* cannot be a value of a job|needs keys"),
    (BASE + "limits: {memory: !size 3}", "job.yaml, line 3: limits.memory: the tag !size cannot be a value of a job"),
    (BASE + "limits: !!set {a, b}", "limits: a Set cannot be a value of a job"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), SYNTAX, ids=range(len(SYNTAX)))
def test_unreadable_files_say_where_and_what_to_do(text: str, says: str) -> None:
    assert re.search(says, message(text))


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)),
        "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}\n" for i in range(1, 23)),
        "a: &a |\n  " + "x" * 100_000 + "\nb: [" + ",".join(["*a"] * 2000) + "]\n",
    ],
    ids=["lists", "mappings", "long text"],
)  # fmt: skip
def test_alias_bombs_end_soon(text: str) -> None:
    assert "aliases multiply" in message(text) or "nested too deeply" in message(text)


# Mistakes --------------------------------------------------------------------------------------------------

MISTAKES = [
    # source
    ("source: {asset: X}", "job.yaml: mosaic: is missing; every job needs source: {asset: …} and mosaic: {path: …}"),
    ("source: {bands: [a]}\nmosaic: {path: o}", "job.yaml, line 1: source: name one of asset, images, collection, expression"),
    ("source:\n  asset: 5\nmosaic: {path: o}", "job.yaml, line 2: source.asset: 5: write text; put it in quotes"),
    ("source: {asset: ''}\nmosaic: {path: o}", "job.yaml, line 1: source.asset: '': must not be empty"),
    ("source: {collection: C, start: 2017-01-01, end: 2018-01-01, months: [13]}\nmosaic: {path: o}", "job.yaml, line 1: source.months[0]: 13: must be at most 12"),
    ("source: {collection: C, start: 2017-01-01, end: 2018-01-01, months: []}\nmosaic: {path: o}", "job.yaml, line 1: source.months: must not be empty"),
    ("source: X\nmosaic: {path: o}", "job.yaml, line 1: source: 'X': needs keys under it: asset, images, collection, start, end, months, season, filter, min_cover, min_clear, limit, order_by, pick, properties, on_missing_band, expression, mask, scale, bands, dtype, every, reduce, on_update"),
    ("source: {asset: X, bands: B2}\nmosaic: {path: o}", "job.yaml, line 1: source.bands: 'B2': write a list of band names, such as [B2, B3], or all"),
    ("source: {asset: X, bands: []}\nmosaic: {path: o}", "job.yaml, line 1: source.bands: name at least one band, or write all"),
    ("source: {asset: X, bands: [a, b, a]}\nmosaic: {path: o}", "job.yaml, line 1: source.bands: a is named more than once; name each band once"),
    ("source:\n  asset: X\n  bands:\n    - a\n    - 7\nmosaic: {path: o}", "job.yaml, line 5: source.bands[1]: 7: write text; put it in quotes"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, filter: A < 1 and B < 2}\nmosaic: {path: o}", "job.yaml, line 1: source.filter: character 7 of the filter 'A < 1 and B < 2': AND, OR or the end expected, there is and (write AND)"),
    ("source:\n  composite:\n    collection: X\n    start: 2017-04-01\n    end: 2017-05-01\n    reduce: mosaic\n    index: [B8, B4]\nmosaic: {path: o}", "job.yaml, line 2: source.composite: is written in source itself: every: all and a reducer, such as reduce: median"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, group_by: day}\nmosaic: {path: o}", "job.yaml, line 1: source.group_by: is called every; write it with a reducer, such as every: day and reduce: first"),
    ("source:\n  collection: X\n  start: 2017-04-01\n  end: 2017-05-01\n  every: month\nmosaic: {path: o}", "job.yaml, line 5: source.every: 'month': month makes one slice of several images and needs reduce, such as reduce: median"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, reduce: median}\nmosaic: {path: o}", "job.yaml, line 1: source.reduce: 'median': goes with every, which says what becomes one slice, such as month or all; add it, or leave reduce out"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, mask: clouds, pick: best}\nmosaic: {path: o}", "job.yaml, line 1: source.pick: 'best': write all, nearest (to the date of a point), or how many images of each period, such as {clearest: 1, per: season}"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, pick: nearest}\nregion: {bbox: [0, 0, 1, 1]}\nmosaic: {path: o}", "job.yaml, line 1: source.pick: 'nearest': is to the date of a point or field, and region has none; add region.points or region.fields, or leave pick out"),
    ("source: {collection: X, mask: clouds, every: all, reduce: first, pick: {clearest: 1}}\nregion: {points: {file: f, chip: 1}}\nmosaic: {path: o}", "job.yaml, line 1: source.pick: is of the images of points and fields, and every: all makes one image; leave it out"),
    ("source: {asset: X}\nregion: {fields: {chip: 64}}\nmosaic: {path: o}", "job.yaml, line 2: region.fields: give one of file and features, such as fields: {file: fields.geojson}"),
    ("source: {asset: X}\nmosaic: {path: o}\nregion: {fields: f.gpkg, mask: true}", "job.yaml, line 3: region.mask: true: means nothing with fields, whose array `inside` tells; leave it out"),
    ("source: {asset: X}\nmosaic: {path: o}\nregion: {fields: f.gpkg, points: {file: f, chip: 1}}", "job.yaml, line 3: region: points and fields exclude each other; keep one of them"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, every: all, reduce: first, pick: nearest}\nregion: {points: {file: f, chip: 1}}\nmosaic: {path: o}", "job.yaml, line 1: source.pick: 'nearest': is of the images of points and fields, and every: all makes one image; leave it out"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, pick: nearest}\nregion: {points: {file: f, chip: 1, before: 30d}}\nmosaic: {path: o}", "job.yaml, line 2: region.points.before: '30d': goes with a collection or images of which all of a point's are taken; leave it out, or leave out pick"),
    ("source: {asset: X}\nregion: {points: {file: f, chip: 1, after: 30d}}\nmosaic: {path: o}", "job.yaml, line 2: region.points.after: '30d': goes with a collection or images of which all of a point's are taken; leave it out"),
    ("source: {collection: X}\nregion: {points: {file: f, chip: 1}}\nmosaic: {path: o}", "job.yaml, line 1: source.start: is needed with region.points, whose images are found by their times; write a date such as 2017-04-01, or region.points.before and after for a column of dates"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, mask: clouds, pick: {clearest: 0, per: month}}\nmosaic: {path: o}", 'job.yaml, line 1: source.pick.clearest: 0: must be greater than 0'),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, mask: clouds, pick: {clearest: 0}}\nmosaic: {path: o}", 'job.yaml, line 1: source.pick.clearest: 0: must be greater than 0'),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, mask: clouds, pick: {clearest: 1, per: week}}\nmosaic: {path: o}", "job.yaml, line 1: source.pick.per: 'week': write 'all', 'day', '16d', 'month', 'season' or 'year'"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, mask: clouds, pick: {clear: 1, per: week}}\nmosaic: {path: o}", "job.yaml, line 1: source.pick.clearest: is missing; source.pick needs it\njob.yaml, line 1: source.pick.per: 'week': write 'all', 'day', '16d', 'month', 'season' or 'year'\njob.yaml, line 1: source.pick.clear: unknown key; did you mean clearest?"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, pick: {clearest: 1, per: month}}\nmosaic: {path: o}", 'job.yaml, line 1: source.pick: takes the images of which mask leaves most; add it, such as mask: clouds, or leave pick out'),
    ("source: {collection: X, mask: clouds, every: all, reduce: first, pick: {clearest: 1, per: month}}\nmosaic: {path: o}", "job.yaml, line 1: source.pick.per: 'month': counts in periods, and without source.start and end there are none; write per: all"),
    ("source: {images: [X], mask: clouds, pick: {clearest: 1, per: month}}\nmosaic: {path: o}", 'job.yaml, line 1: source.pick: goes with collection and expression, not with images; leave it out'),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, min_clear: 0.5}\nmosaic: {path: o}", "job.yaml, line 1: source.min_clear: 0.5: is the share that mask leaves; add it, such as mask: clouds, or leave min_clear out"),
    ("source: {collection: X, start: 2017-04-01, end: 2017-05-01, every: month, reduce: modus}\nmosaic: {path: o}", "job.yaml, line 1: source.reduce: 'modus': 'modus' is not a reducer; write first, last, median, mean, min, max, count, std, medoid, a percentile such as p90, or {least: BAND} or {most: BAND}"),
    ("source: {asset: X, mask: cloud}\nmosaic: {path: o}", "job.yaml, line 1: source.mask: 'cloud': write clouds, a rule such as {band: QA_PIXEL, bits: [3, 4]}, or a list of rules"),
    ("source: {asset: X, mask: {band: Q}}\nmosaic: {path: o}", "job.yaml, line 1: source.mask: write one of bits, values, below and above; further ones are further rules of the list"),
    ("source:\n  asset: X\n  bands:\n    - a\n    - b: a +\nmosaic: {path: o}", "job.yaml, line 3: source.bands: 'a +' is not a formula: it cannot be read; write for instance (B8 - B4) / (B8 + B4)"),
    # executor
    (BASE + "executor: dask", "job.yaml, line 3: executor: 'dask': write local, or dask: {workers: 4}, or dask: {scheduler: tcp://…}"),
    (BASE + "executor: {dask: {}}", "job.yaml, line 3: executor.dask: give one of scheduler, the address of a cluster that is there, and workers, a number of processes to start"),
    (BASE + "executor: {dask: {workers: 2, scheduler: tcp://a:1}}", "job.yaml, line 3: executor.dask: give one of scheduler, the address of a cluster that is there, and workers, a number of processes to start"),
    (BASE + "executor: {dask: {workers: 0}}", "job.yaml, line 3: executor.dask.workers: 0: must be at least 1"),
    (BASE + "executor: {dask: {scheduler: a:8786}}", "job.yaml, line 3: executor.dask.scheduler: 'a:8786': write the scheduler's address, such as tcp://scheduler:8786"),
    (BASE + "executor: {dask: {scheduler: tcp://me:pw@a:8786}}", "job.yaml, line 3: executor.dask.scheduler: 'tcp://…@a:8786': an address must hold no user or password; write the scheduler's address, such as tcp://scheduler:8786"),
    ("source: {expression: {result: a, values: {}}}\nregion: {bbox: [1, 2, 3, 4]}\nmosaic: {path: o}", "job.yaml, line 1: source.expression: refers to 'a', which is not among its values"),
    ("source: {expression: '{'}\nregion: {bbox: [1, 2, 3, 4]}\nmosaic: {path: o}", "job.yaml, line 1: source.expression: is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
    # several sections
    ("source: {images: [a]}\nregion:\n  window: {column: 0, row: 0, width: 1, height: 1}\nmosaic: {path: o}", "job.yaml, line 3: region.window: counts in the pixels of one image, and source names several; give region.bbox or region.geometry"),
    ("source: {images: [a]}\nmosaic: {path: o}", "job.yaml: region: is needed with source.images; give region.bbox or region.geometry"),
    # region
    (BASE + "region:", "job.yaml, line 3: region: is empty; leave it out, or give it keys: window, bbox, geometry, file, points, fields, crs, mask, all_touched, buffer"),
    (BASE + "region: {bbox: [1, 2, 3]}", "job.yaml, line 3: region.bbox: four numbers are needed: [west, south, east, north]"),
    (BASE + "region: {bbox: 7}", "job.yaml, line 3: region.bbox: 7: four numbers are needed: [west, south, east, north]"),
    (BASE + "region: {bbox: [1, 2, 3, x]}", "job.yaml, line 3: region.bbox[3]: 'x': write a number"),
    (BASE + "region: {bbox: [1, .nan, 3, 4]}", "job.yaml, line 3: region.bbox: needs four finite numbers, got [1.0, nan, 3.0, 4.0]"),
    (BASE + "region: {bbox: [1, 5, 3, 4]}", "job.yaml, line 3: region.bbox: south 5 must lie below north 4; the order is [west, south, east, north]"),
    (BASE + "region: {bbox: [1, 2, 3, 4], crs: foo}", "job.yaml, line 3: region.crs: unknown CRS 'foo': use an authority code such as EPSG:32610, or WKT"),
    (BASE + "region: {crs: EPSG:32610}", "job.yaml, line 3: region.crs: 'EPSG:32610': says what CRS bbox, geometry, points or fields.features are in, and there is none; add one, or leave crs out"),
    (BASE + "region: {bbox: [1, 2, 3, 4], file: a}", "job.yaml, line 3: region: bbox and file exclude each other; keep one of them"),
    (BASE + "region:\n  window: {column: 0, row: 0, width: 0, height: 5}", "job.yaml, line 4: region.window.width: 0: must be greater than 0"),
    (BASE + "region: {window: {column: 0, row: 0, width: 5}}", "job.yaml, line 3: region.window.height: is missing; region.window needs it"),
    (BASE + "region: {window: [0, 0, 5, 5]}", "job.yaml, line 3: region.window: needs keys under it: column, row, width, height"),
    (BASE + "region: {window: {column: 0.5, row: 0, width: 5, height: 5}}", "job.yaml, line 3: region.window.column: 0.5: write a whole number"),
    # grid
    (BASE + "grid: natve", "job.yaml, line 3: grid: 'natve': write native, or keys under it, such as {resolution: 20}"),
    (BASE + "grid: {resolution: -1}", "job.yaml, line 3: grid.resolution: -1: must be greater than 0"),
    (BASE + "grid: {resolution: x}", "job.yaml, line 3: grid.resolution: 'x': write a number"),
    (BASE + "grid: {resolution: .inf}", "job.yaml, line 3: grid.resolution: inf: write a finite number"),
    (BASE + "grid: {resolution: [1, 2, 3]}", "job.yaml, line 3: grid.resolution: write one number, or two: [x, y]"),
    (BASE + "grid: {resolution: 5, scale: 5}", "job.yaml, line 3: grid: resolution and scale exclude each other; keep one"),
    (BASE + "grid: {resolution: 5, resampling: {B4: cubic}}", "job.yaml, line 3: grid.resampling: write nearest, bilinear, bicubic or average, or one of them for each band, such as {B4: bilinear}"),
    ("source: {expression: e.json}\nregion: {bbox: [0, 0, 1, 1]}\ngrid: {resolution: 5, resampling: bilinear}\nmosaic: {path: o}", "job.yaml, line 3: grid.resampling: 'bilinear': an expression says itself how it is resampled, by ee.Image.resample(); leave this out"),
    (BASE + "grid: {align: image}", "job.yaml, line 3: grid.align: unknown key; did you mean resampling?"),
    # mosaic
    ("source: {asset: X}\nmosaic: {path: ftp://host/a}", "job.yaml, line 2: mosaic.path: 'ftp://host/a': write a folder's path, s3://BUCKET/PATH (Amazon S3 and what speaks its protocol), gs://BUCKET/PATH (Google Cloud Storage), az://CONTAINER/PATH (Azure Blob Storage), memory://NAME (the library only: gone with the process)"),
    ("source: {asset: X}\nmosaic: {path: 's3://key:secret@bucket/a'}", "job.yaml, line 2: mosaic.path: 's3://…@bucket/a': credentials do not belong into a path, where everybody reads them; leave them out here and set the variables that the cloud's own tools read, such as AWS_ACCESS_KEY_ID"),
    ("source: {asset: X}\nmosaic: {path: 'az://box/a?sig=secret'}", "job.yaml, line 2: mosaic.path: 'az://box/a?…': a URL's query or fragment means nothing here; write az://CONTAINER/PATH (Azure Blob Storage)"),
    ("source: {asset: X}\nmosaic: {path: s3://bucket}", "job.yaml, line 2: mosaic.path: 's3://bucket': names a whole bucket; name a folder in it: s3://bucket/mosaic.zarr"),
    ("source: {asset: X}\nmosaic: {path: o, nodata: {B2: x}}", "job.yaml, line 2: mosaic.nodata: write a number, or a number for each band, such as {B2: 0, B3: 0}"),
    ("source: {asset: X}\nmosaic: {path: o, nodata: true}", "job.yaml, line 2: mosaic.nodata: true: true and false mean nothing here"),
    ("source: {asset: X}\nmosaic: {path: o, checkpoint: 0s}", "job.yaml, line 2: mosaic.checkpoint: '0s': must be greater than 0"),
    ("source: {asset: X}\nmosaic: {path: o, compressor: gzip}", "job.yaml, line 2: mosaic.compressor: 'gzip': write 'lz4', 'zstd' or 'none'"),
    # service
    (BASE + "service: {endpoint: localhost}", "job.yaml, line 3: service.endpoint: 'localhost': write auto, standard, high-volume, emulator, or an address such as http://localhost:8080"),
    (BASE + "service: {workload_tag: A B}", "job.yaml, line 3: service.workload_tag: 'A B': write 1 to 63 of a-z, 0-9, - and _, beginning and ending with a letter or digit"),
    (BASE + "service: {emulator: {rasters: [a]}}", "job.yaml, line 3: service.emulator.rasters: write keys and values, such as {KEY: VALUE}"),
    # auth
    (BASE + "auth: {key_file: k, none: true}", "job.yaml, line 3: auth: key_file and none exclude each other; keep one"),
    (BASE + "auth: magic", "job.yaml, line 3: auth: write application_default, earthengine or none, or keys under it: key_file, …"),
    # request, limits
    ("source: {asset: X}\nmosaic: {path: o, chunks: {y: 3}}\n", "job.yaml, line 2: mosaic.chunks: write auto, or {time: N} for chunks of N slices, 1 to 4,096"),
    ("source: {asset: X}\nmosaic: {path: o, chunks: {time: 0}}\n", "job.yaml, line 2: mosaic.chunks: write auto, or {time: N} for chunks of N slices, 1 to 4,096"),
    (BASE + "request: {tiles: 0}", "job.yaml, line 3: request.tiles: 0: write auto, or a number from 1 on"),
    (BASE + "request: {tiles: many}", "job.yaml, line 3: request.tiles: 'many': write auto, or a number from 1 on"),
    (BASE + "request: {tiles: 1.5}", "job.yaml, line 3: request.tiles: 1.5: write auto, or a number from 1 on"),
    (BASE + "limits: {retries: true}", "job.yaml, line 3: limits.retries: true: true and false mean nothing here"),
    (BASE + "limits: {concurrency: many}", "job.yaml, line 3: limits.concurrency: 'many': write a whole number"),
    (BASE + "limits: {concurrency: 20000}", "job.yaml, line 3: limits.concurrency: 20000: must be at most 10000"),
    (BASE + "limits: {requests_per_second: .nan}", "job.yaml, line 3: limits.requests_per_second: nan: write a finite number"),
    (BASE + "limits: {memory: 10MB}", "job.yaml, line 3: limits.memory: '10MB': give at least 128MiB"),
    (BASE + "limits: {memory: 10 potatoes}", "job.yaml, line 3: limits.memory: '10 potatoes': unknown unit 'potatoes'; write a size such as 400MB or 1GiB"),
    (BASE + "limits: {memory: }", "job.yaml, line 3: limits.memory: is empty; give it a value, or leave it out"),
    (BASE + "limits: {max_time: -1}", "job.yaml, line 3: limits.max_time: -1: write a duration such as 30s or 15m"),
    # unknown keys
    (BASE + "limits: {concurency: 5}", "job.yaml, line 3: limits.concurency: unknown key; did you mean concurrency?"),
    (BASE + "bands: [B2]", "job.yaml, line 3: bands: unknown key; did you mean source.bands?"),
    (BASE + "request: {memory: 1GiB}", "job.yaml, line 3: request.memory: unknown key; did you mean limits.memory?"),
    (BASE + "mosiac: {}", "job.yaml, line 3: mosiac: unknown key; did you mean mosaic?"),
    (BASE + "frobnicate: 1", "job.yaml, line 3: frobnicate: unknown key; known here: source, region, grid, mosaic, service, auth, request, limits, executor"),
    (BASE + "service: {emulator: {rasterz: {}}}", "job.yaml, line 3: service.emulator.rasterz: unknown key; did you mean rasters?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), MISTAKES, ids=[text.splitlines()[-1][:40] for text, _ in MISTAKES])
def test_every_mistake_gets_one_line_with_its_fix(text: str, says: str) -> None:
    assert message(text) == says


def test_several_mistakes_get_a_line_each_and_not_too_many() -> None:
    lines = message("source: {asset: 5, bands: x}\nlimits: {retries: x}\n").splitlines()
    assert [line.split(":")[1].strip() for line in lines] == [
        "source.asset",
        "source.bands",
        "mosaic",
        "limits.retries",
    ]
    lines = message(BASE + "".join(f"k{n}: 1\n" for n in range(50))).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "… and 40 more like these"


def test_long_values_are_shortened() -> None:
    assert len(message(BASE + f"limits: {{memory: {'x' * 5000}}}")) < 250


# Secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "section",
    [
        "auth: ya29.S3CRET", "auth: {access_token_env: ya29.S3CRET}", "auth: {access_token_command: S3CRET}", "auth: {key_file: [S3CRET]}",
        "auth: {key_file: S3CRET, key_file: S3CRET}", "auth: {kee_file: S3CRET}", "auth: [S3CRET]", "auth: {earthengine: S3CRET}",
        "auth: {key_file: 'S3CRET", "service: {endpoint: 'https://user:S3CRET@host'}", "service: {endpoint: 'https://S3CRET@host/path'}",
        "auth: {key_file: !x S3CRET}", "auth: {access_token_command: [a, {b: S3CRET}]}",
    ],
)  # fmt: skip
def test_secrets_are_never_repeated(section: str) -> None:
    text = message(BASE + section)
    assert "S3CRET" not in text
    assert "job.yaml" in text


def test_values_of_variables_are_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "S3CRET")
    text = message(BASE + "limits: {concurrency: '${A_TOKEN}'}\nservice: {endpoint: '${A_TOKEN}'}")
    assert "S3CRET" not in text
    assert "limits.concurrency: '${A_TOKEN}': write a whole number" in text


def test_a_repr_shows_no_secret() -> None:
    job = load(BASE + "auth: {access_token_command: [echo, S3CRET]}")
    assert "S3CRET" not in repr(job)
    assert "S3CRET" not in str(job)


def test_set_repeats_no_secret() -> None:
    assert "S3CRET" not in message(BASE, "auth.key_file=[S3CRET")
    assert "S3CRET" not in message(BASE, "auth={none: S3CRET}")


# Variables, --set, paths -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("source:\n  asset: ${DOWNLOADER_NOT_SET}\nmosaic: {path: o}", "job.yaml, line 2: source.asset: the environment has no variable DOWNLOADER_NOT_SET"),
        ("source:\n  asset: X\n  bands:\n    - a\n    - b${DOWNLOADER_NOT_SET}c\nmosaic: {path: o}", r"job.yaml, line 5: source.bands\[1\]: the environment has no"),
    ],
)  # fmt: skip
def test_unset_variables_name_place_and_variable(text: str, says: str) -> None:
    assert re.match(says, message(text))


def test_a_dollar_alone_is_a_dollar() -> None:
    assert load("source: {asset: 'a$b $HOME {x} ${'}\nmosaic: {path: o}").source.asset == "a$b $HOME {x} ${"


def test_set_overrides_adds_and_is_dumped() -> None:
    job = load(
        BASE,
        "limits.concurrency=20",
        "source.bands=[NO, B3]",
        "grid.resolution=[10, 20]",
        "mosaic.path=elsewhere",
        "auth=none",
    )
    assert job.limits.concurrency == 20
    assert job.source.bands == ("NO", "B3")
    assert job.grid.resolution == (10.0, 20.0)
    assert job.mosaic.path == "elsewhere"
    assert job.auth.kind == "none"
    assert load(job.dump()) == job


def test_set_replaces_a_word_by_a_section() -> None:
    job = load(BASE + "grid: native\nauth: earthengine\n", "grid.resolution=5", "auth.key_file=k.json")
    assert job.grid.resolution == (5.0, 5.0)
    assert job.auth.kind == "key_file"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "limits.concurrency",
            "--set limits.concurrency: write KEY=VALUE, such as --set limits.concurrency=20",
        ),
        ("=3", "--set : write KEY=VALUE"),
        ("limits..x=3", "--set limits..x: write KEY=VALUE"),
        ("limits.concurrency=x", "--set limits.concurrency: 'x': write a whole number"),
        ("limits.concurency=3", "--set limits.concurency: unknown key; did you mean concurrency?"),
        ("limits.memory=[", "--set limits.memory: not readable as YAML"),
        ("limits={concurrency: x}", "--set limits: limits.concurrency: 'x': write a whole number"),
        ("source.bands.0=a", "--set source.bands.0: source.bands is a list; set it as a whole"),
        (
            "limits.memory=${DOWNLOADER_NOT_SET}",
            "--set limits.memory: the environment has no variable DOWNLOADER_NOT_SET",
        ),
    ],
)
def test_set_is_blamed_for_its_own_mistakes(override: str, says: str) -> None:
    text = "source: {asset: X, bands: [B2]}\nmosaic: {path: o}\nlimits: {concurrency: 7}\n"
    assert message(text, override).startswith(says)


def test_paths_start_from_the_job_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    job = Job.parse(BASE, base=tmp_path)
    assert job.mosaic_path == tmp_path / "o"
    assert job.resolve("/absolute") == Path("/absolute")
    assert job.resolve("~/key.json") == Path("/home/someone/key.json")
    assert Job.from_dict({"source": {"asset": "X"}, "mosaic": {"path": "o"}}).mosaic_path == Path("o")
    with pytest.raises(JobError, match="write the folder's whole path"):
        job.resolve("~no-such-user-here/x")


def test_the_design_document_s_smallest_job() -> None:
    job = load(
        """\
source: {asset: COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG, bands: [B2, B3, B4, B8]}
region: {window: {column: 0, row: 0, width: 2048, height: 2048}}
mosaic: {path: out/quickstart.zarr}
"""
    )
    assert job.source.bands == ("B2", "B3", "B4", "B8")
    assert (
        job.limits.concurrency,
        job.limits.requests_per_second,
        job.limits.memory,
        job.limits.retries,
    ) == (40, 90.0, 2**30, 8)
    assert (job.limits.give_up_after, job.request.timeout, job.mosaic.checkpoint) == (900.0, 90.0, 30.0)
    assert (job.request.tile_count, job.service.endpoint, job.auth.kind) == (None, "auto", "chain")
    assert (job.mosaic.profile, job.mosaic.compressor, job.mosaic.durability) == ("sharded", "lz4", "full")


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "configs").glob("*.yaml")), ids=lambda path: path.name
)
def test_the_configs_that_ship_are_valid(path: Path) -> None:
    job = Job.parse(path.read_text("utf-8"), path.name, path.parent)
    assert load(job.dump()) == job


# Expressions -----------------------------------------------------------------------------------------------


def chain(length):
    """A graph of calls within calls, as deep as the service takes them."""
    node = {"constantValue": 1}
    for _ in range(length):
        node = {"functionInvocationValue": {"functionName": "Image.abs", "arguments": {"value": node}}}
    return {"result": "0", "values": {"0": node}}


class Serialised:
    def __init__(self, graph):
        self.graph = graph

    def serialize(self):
        return json.dumps(self.graph, indent=1)


@pytest.mark.parametrize("length", [1, 99])
def test_an_expression_is_one_canonical_text_in_whatever_form_it_comes(length) -> None:
    graph = chain(length)
    forms = [graph, json.dumps(graph), Serialised(graph)]
    rest = {"region": {"bbox": [1, 2, 3, 4]}, "mosaic": {"path": "o"}}
    jobs = [Job.from_dict({"source": {"expression": form}, **rest}) for form in forms]
    written = Job.parse(json.dumps({"source": {"expression": json.dumps(graph)}, **rest}))
    assert jobs[0] == jobs[1] == jobs[2] == written
    assert jobs[0].source.expression == canonical(graph)
    assert Source(expression=Serialised(graph)) == jobs[0].source
    assert Job.parse(jobs[0].dump()) == jobs[0]
    with pytest.raises(JobError, match=r"source.expression: is nested deeper than 100"):
        Job.from_dict({"source": {"expression": chain(101)}, **rest})


def test_an_expression_of_aliases_that_multiply_ends_soon() -> None:
    node: dict[str, Any] = {"constantValue": 1}
    for _ in range(60):
        node = {"arrayValue": {"values": [node, node]}}
    with pytest.raises(JobError, match="aliases multiply"):
        Job.from_dict(
            {"source": {"expression": {"result": "0", "values": {"0": node}}}, "mosaic": {"path": "o"}}
        )


# Hostile values --------------------------------------------------------------------------------------------

LONG = "x" * 70_000


@pytest.mark.parametrize(
    "text",
    [
        BASE + f"region: {{crs: {LONG}}}",
        BASE + f"grid: {{crs: {LONG}, resolution: 1}}",
        BASE + f"grid: {{resampling: {LONG}}}",
        BASE + f"limits: {{memory: {LONG}}}",
        BASE + f"limits: {{max_time: {'9' * 70_000}h}}",
        BASE + f"limits: {{{LONG}: 1}}",
        BASE + f"{LONG}: 1",
        BASE + f"service: {{endpoint: {LONG}}}",
        BASE + f"executor: {LONG}",
        BASE + f"auth: {LONG}",
        f"source: {{asset: X, bands: [{LONG}, {LONG}]}}\nmosaic: {{path: o}}",
        f"source: {{asset: X}}\nmosaic: {{path: 'http://{LONG}'}}",
        f"source: {{collection: X, start: {LONG}, end: 2017-05-01}}\nmosaic: {{path: o}}",
        f"source: {{collection: X, start: 2017-04-01, end: 2017-05-01, filter: '{LONG} <'}}\nmosaic: {{path: o}}",
        f"source: {{expression: '{{{LONG}'}}\nmosaic: {{path: o}}",
        f"source: {{expression: {{result: {LONG}, values: {{}}}}}}\nmosaic: {{path: o}}",
        f"source: {{asset: ${{{LONG}}}}}\nmosaic: {{path: o}}",
        f"a: *{LONG}",
        f"{LONG}",
    ],
    ids=range(19),
)
def test_long_values_are_repeated_in_part(text: str) -> None:
    assert len(message(text)) < 1_000


@pytest.mark.parametrize("key", ["auth.key_file", "mosaic.path", "source.asset"])
def test_half_a_surrogate_pair_is_no_text(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    section, name = key.split(".")
    values: dict[str, Any] = {"source": {"asset": "X"}, "mosaic": {"path": "o"}}
    values[section] = {**values.get(section, {}), name: "\ud800"}
    with pytest.raises(JobError, match=f"{key}: holds half of a surrogate pair"):
        Job.from_dict(values)
    assert "half of a surrogate pair" in message(BASE + r'auth: {key_file: "\uD800"}')
    monkeypatch.setenv("BROKEN", "\udcff")
    assert "half of a surrogate pair" in message(BASE + "auth: {key_file: '${BROKEN}'}")


@pytest.mark.parametrize("value", ["0", "0s", "-1"])
def test_giving_up_at_once_is_refused(value: str) -> None:
    assert message(BASE + f"limits: {{give_up_after: {value}}}").startswith(
        "job.yaml, line 3: limits.give_up_after: "
    )


def test_a_box_without_brackets_is_one_mistake() -> None:
    """YAML reads the second, third and fourth number as keys; only the box is told of."""
    text = "source: {asset: A}\nregion: {bbox: -122.6, 37.4, -122.2, 37.9}\nmosaic: {path: x}\n"
    with pytest.raises(JobError) as caught:
        Job.parse(text)
    assert len(str(caught.value).splitlines()) == 1
    assert "region.bbox: -122.6: four numbers are needed: [west, south, east, north]" in str(caught.value)
