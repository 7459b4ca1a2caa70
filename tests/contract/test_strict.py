"""The strict preset: what the contract infers, read the other way, each switch by itself and all of them together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from earthengine_emulator import EmulatorProcess, arguments
from earthengine_emulator.api.errors import ApiError
from earthengine_emulator.api.settings import STRICT, Settings
from earthengine_emulator.server import options
from earthengine_emulator.server.quotas import Quotas
from tests.contract.conftest import Api, ends, error_of, grid
from tests.oracle import PUBLIC, QUICKSTART


@pytest.fixture(scope="module")
def strict():
    with EmulatorProcess(arguments(tokens={"tok": "p-test-1"}, strict=True)) as process:
        api = Api(process)
        yield api
        api.client.close()


def test_the_preset_is_in_force(strict):
    settings = strict.emulator.statistics()["settings"]
    assert {name: settings[name] for name in STRICT} == dict(STRICT)
    defaults = Settings()
    assert [name for name in STRICT if getattr(defaults, name) == STRICT[name]] == ["auth"]


def test_flags_and_the_environment_say_the_same(monkeypatch):
    def started(*flags, says=None):
        if says is not None:
            monkeypatch.setenv("EARTHENGINE_EMULATOR_STRICT", says)
        return options.parse(flags).settings.fill

    assert started() in ("zero", "-inf")  # whatever this run's environment says
    assert started("--strict") == "-inf"
    assert started(says="1") == "-inf"
    assert started(says="0") == "zero"
    assert started("--no-strict", says="1") == "zero"
    assert started("--fill=min", "--strict") == "min"


def test_requests_that_say_too_little_are_refused(strict):
    whole = grid(0, 0, 8, 8)
    assert strict.pixels(bandIds=["B2"], grid=whole).status_code == 200
    for part in (
        {"grid": {"affineTransform": whole["affineTransform"]}},
        {"grid": {"dimensions": whole["dimensions"]}},
        {"region": {"type": "Point", "coordinates": [-122.5, 37.5]}},
    ):
        message = error_of(strict.pixels(bandIds=["B1"], **part), 400, "INVALID_ARGUMENT")["message"]
        assert "pixel grid needs" in message
    error_of(
        strict.post(f"/v1/{QUICKSTART}:getPixels", {"bandIds": ["B2"], "grid": whole}),
        400,
        "INVALID_ARGUMENT",
    )
    mixed = strict.pixels(bandIds=["B2", "QA20"], grid=whole, fileFormat="GEO_TIFF")
    assert "one type" in error_of(mixed, 400, "INVALID_ARGUMENT")["message"]


def test_answers_look_otherwise(strict):
    answer = strict.pixels(bandIds=["B4"], grid=grid(0, 0, 1, 1))
    assert answer.headers["content-type"] == "application/octet-stream; charset=binary"
    assert len(answer.content) % 16 == 2
    assert len(answer.content) < 130
    edge = {
        "affineTransform": {"scaleX": 20, "scaleY": -20, "translateX": 600000, "translateY": 5200020},
        "dimensions": {"width": 3, "height": 2},
    }
    masked = strict.npy(f"{PUBLIC}EMULATOR/MASKED", bandIds=["f4", "i2", "u1"], grid=edge)
    assert masked[0, 0].tolist() == (-np.inf, -32768, 0)


def test_listings_are_harder_to_follow(strict):
    parent = f"/v1/{PUBLIC}COPERNICUS/S2_SR_HARMONIZED"
    first = strict.get(f"{parent}:listAssets?pageSize=10").json()
    assert list(first) == ["nextPageToken"]
    names, token = [], first["nextPageToken"]
    while token:
        page = strict.get(f"{parent}:listAssets?pageSize=10&pageToken={token}").json()
        names += [one["name"].rsplit("/", 1)[1] for one in page["assets"]]
        token = page.get("nextPageToken")
    assert len(names) == len(set(names)) == 165
    assert [name[-5:] for name in names[:3]] == ["10SFG", "10SEH", "10SEG"]
    error_of(strict.get(f"{parent}:listAssets?pageSize=1001"), 400, "INVALID_ARGUMENT")


def test_pages_of_one_entry_lose_none_beside_empty_ones(strict):
    strict.emulator.configure(faults=[{"fault": "many-pages"}])
    try:
        parent, names, token = f"/v1/{PUBLIC}EMULATOR/PASSES", [], ""
        while token is not None:
            page = strict.get(f"{parent}:listAssets?pageSize=10&pageToken={token}").json()
            assert len(page.get("assets", [])) <= 1
            names += [one["id"] for one in page.get("assets", [])]
            token = page.get("nextPageToken")
        assert len(names) == len(set(names)) == 7
    finally:
        strict.emulator.reset()


def test_a_deleted_project_is_forbidden(strict):
    error = error_of(
        strict.get(f"/v1/{QUICKSTART}", X_Goog_User_Project="p-deleted"), 403, "PERMISSION_DENIED"
    )
    assert error["message"] == "Project 'projects/p-deleted' not found or deleted."


def test_refused_requests_count_against_the_rate():
    """Two slots' worth of requests a window; a third is refused and, where that counts, keeps the window full."""
    clock = [0.0]

    def statuses(*, count_refused):
        settings = Settings().changed(
            {"quota_per_minute": 2, "quota_window_s": 60, "count_refused": count_refused}
        )
        quotas, found = Quotas(settings, lambda: clock[0]), []
        for at in (0, 1, 50, 51, 62):
            clock[0] = at
            try:
                with quotas.slot("standard", "p"):
                    found.append(200)
            except ApiError as error:
                found.append(error.code)
        return found

    assert statuses(count_refused=False) == [200, 200, 429, 429, 200]
    assert statuses(count_refused=True) == [200, 200, 429, 429, 429]


def test_every_limit_is_a_switch(strict):
    strict.emulator.reset()
    strict.emulator.configure(
        limit_pixel_bytes=3 * 64,
        limit_side=16,
        limit_bands=2,
        limit_page_full=7,
        limit_depth=3,
        limit_elements=1,
    )
    assert strict.pixels(bandIds=["B2"], grid=grid(0, 0, 8, 8)).status_code == 200
    for body, says in (
        ({"bandIds": ["B2"], "grid": grid(0, 0, 9, 8)}, "less than or equal to 192 bytes"),
        ({"bandIds": ["B2"], "grid": grid(0, 0, 17, 1)}, "less than or equal to 16"),
        ({"bandIds": ["B2", "B3", "B4"], "grid": grid(0, 0, 1, 1)}, "less than or equal to 2"),
    ):
        assert says in error_of(strict.pixels(**body), 400, "INVALID_ARGUMENT")["message"]
    answer = strict.get(f"/v1/{PUBLIC}EMULATOR/SERIES:listAssets?pageSize=8")
    error_of(answer, 400, "INVALID_ARGUMENT")
    strict.emulator.configure(limit_payload_bytes=10)
    assert "exceeds the limit: 10 bytes" in error_of(strict.pixels(), 400, "INVALID_ARGUMENT")["message"]
    strict.emulator.reset()


def test_headers_of_every_answer(strict):
    strict.emulator.configure(
        headers={"x-earth-engine-init-message": "hello"},
        retry_after_s=3,
        quota_projects={"p-test-1": {"per_minute": 1}},
    )
    first, second = (strict.get(f"/v1/{QUICKSTART}") for _ in range(2))
    assert [one.headers["x-earth-engine-init-message"] for one in (first, second)] == ["hello", "hello"]
    assert "retry-after" not in first.headers
    assert (second.status_code, second.headers["retry-after"]) == (429, "3")
    strict.emulator.reset()


def test_flags_of_every_kind(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"limit_side": 99, "seed": 5, "headers": {"x-a": "file"}}))
    flags = ["--set=limit_bands=3", "--set=fill=nan", "--header=x-a=flag", "--fault=html-503"]
    flags += ['--fault={"fault": "memory-400", "above_pixels": 9}', f"--config={config}"]
    with EmulatorProcess(flags) as process:
        settings = process.statistics()["settings"]
    assert (settings["limit_side"], settings["seed"], settings["limit_bands"]) == (99, 5, 3)
    assert (settings["fill"], settings["headers"]) == ("nan", {"x-a": "flag"})
    assert [fault["fault"] for fault in settings["faults"]] == ["html-503", "memory-400"]


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--set=limit_side=1.5", "limit_side must be a whole number"),
        ("--set=deleted_project_status=500", "one of 400, 403, 404"),
        ("--set=count_refused=1", "true or false"),
        ('--set=headers={"a": 1}', "an object of texts"),
        ("--set=nothing=1", "unknown switch 'nothing'"),
        ("--set=nothing", "SWITCH=VALUE"),
        ("--fault=no-such", "no-such"),
    ],
)
def test_flags_that_cannot_be_followed(capsys, flag, says):
    assert ends([flag]) == 2
    assert says in capsys.readouterr().err
