"""`downloader plan` and the question before a large run: what is said, what is asked for, and that nothing is stored."""

from __future__ import annotations

import pytest

import downloader
from downloader.report.probe import Probe
from tests.harness import ASSET, command, getpixels, job, window, write_job
from tests.terminal import on_terminal

BIG = {"grid": {"resolution": 0.5}, "region": None, "limits": {"max_requests": 2}}
"""386 GB by arithmetic."""


@pytest.fixture
def small(emulator, tmp_path):
    return write_job(tmp_path, job(emulator, region=window(0, 0, 1000, 600)))


def test_the_table_says_it_all(small, emulator):
    ended = command("plan", small)
    assert ended.status == 0, ended
    assert ended.err == ""
    lines = ended.out.splitlines()
    assert max(map(len, lines[:10])) <= 80
    assert "images    1" in lines
    assert "tiles     12 in 12 requests" in lines
    assert any(line.split()[:4] == ["/", "600", "×", "1,000"] for line in lines)
    assert any(line.startswith("time ") for line in lines)
    assert any(line.startswith("mosaic ") and "does not exist yet" in line for line in lines)
    assert getpixels(emulator) == []


def test_what_is_stored_is_told(small, tmp_path, emulator):
    stopped = command("run", small, "-q", "--set", "limits.max_requests=5")
    assert stopped.status == 4
    asked = len(getpixels(emulator))
    document = command("plan", small, "--json").document
    assert document["mosaic"]["state"] == "same"
    assert document["mosaic"]["stored"] == {"": 5}
    assert document["mosaic"]["left"]["tiles"] == 7
    assert document["mosaic"]["left"]["requests"] == 7
    assert document["estimate"]["tiles"] == 12
    assert document["probe"] is None
    assert "5 of 12 tiles are stored" in command("plan", small).out
    assert command("run", small, "-q").status == 0
    assert "all 12 tiles are stored already" in command("plan", small).out
    assert len(getpixels(emulator)) == asked + 7, "plans ask for no pixels"


def test_an_extension_is_told_from_the_same_and_from_another(small, tmp_path, emulator):
    assert command("run", small, "-q").status == 0
    more = write_job(
        tmp_path,
        job(
            emulator,
            region=window(0, 0, 1000, 600),
            source={"asset": ASSET, "bands": ["B2", "B3", "B4", "B8", "QA10"]},
        ),
        "more.yaml",
    )
    found = downloader.plan(more)
    assert found.target.state == "extension"
    assert "would be extended" in command("plan", more).out
    other = write_job(tmp_path, job(emulator, region=window(0, 0, 500, 600)), "other.yaml")
    found = downloader.plan(other)
    assert found.target.state == "refused"
    assert "would refuse" in command("plan", other).out


def test_a_folder_of_something_else_is_told(small, tmp_path):
    (tmp_path / "mosaic.zarr").mkdir()
    (tmp_path / "mosaic.zarr" / "notes.txt").write_text("mine")
    ended = command("plan", small)
    assert ended.status == 0
    assert "would refuse" in ended.out


def test_a_probe_measures_and_stores_nothing(emulator, tmp_path):
    scene = write_job(tmp_path, job(emulator, region=window(0, 0, 8192, 8192)))
    ended = command("plan", scene, "--probe", "6", "--seed", "3")
    assert ended.status == 0, ended
    assert "probe of 6 random tiles (--seed 3)" in ended.out
    assert "reported no compute cost" in ended.out
    asked = getpixels(emulator)
    single = [tuple(record["window"]) for record in asked if record["size"] == [256, 256]]
    assert len(single) == len(set(single)) == 6
    assert 7 <= len(asked) <= 9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.yaml"]
    again = downloader.plan(scene, probe=6, seed=3).probe
    assert isinstance(again, Probe)
    repeated = [tuple(r["window"]) for r in getpixels(emulator)[len(asked) :] if r["size"] == [256, 256]]
    assert sorted(repeated) == sorted(single)
    assert again.failed == 0
    assert again.latency is not None
    assert again.latency[0] <= again.latency[1] <= again.latency[2]
    assert 0 < again.ratio < 1
    assert again.disk_bytes == pytest.approx(again.ratio * 8192**2 * 8, rel=0.01)


def test_what_a_probe_extrapolates_is_what_a_run_takes(emulator, tmp_path):
    values = job(emulator, region=window(0, 0, 2048, 2048))
    path = write_job(tmp_path, values)
    found = downloader.plan(path, probe=1000, seed=1).probe
    assert found.tiles == 64, "no tile is drawn twice"
    assert found.disk_error == 0, "all of them leave nothing to guess"
    report = downloader.download(path, progress=False)
    # The run's bytes have the shards' indices beside the chunks.
    assert found.disk_bytes == pytest.approx(report.disk_bytes, rel=0.02)


def test_tiles_that_fail_in_a_probe_are_told(emulator, small):
    emulator.control("configure", {"faults": [{"fault": "bad-request-400", "times": 1}]})
    found = downloader.plan(small, probe=4, seed=1).probe
    assert (found.tiles, found.requests, found.failed) == (3, 3, 1)
    assert found.problem


def test_a_probe_sees_a_moment_of_trouble_through(emulator, small):
    emulator.control("configure", {"faults": [{"fault": "html-503", "times": 1}]})
    found = downloader.plan(small, probe=4, seed=1).probe
    assert (found.tiles, found.failed) == (4, 0)


def test_a_probe_that_may_read_nothing_ends_as_a_run_does(emulator, small):
    emulator.control("configure", {"faults": [{"fault": "service-disabled-403", "on": "pixels"}]})
    assert command("plan", small, "--probe", "4").status == 6


def test_what_headers_tell_of_compute_is_shown(emulator, small):
    emulator.control("configure", {"headers": {"x-earth-engine-computation-profile": "profile-1"}})
    assert "x-earth-engine-computation-profile: profile-1" in command("plan", small, "--probe", "2").out


def test_json_holds_the_probe(small):
    document = command("plan", small, "--probe", "2", "--json").document
    assert document["probe"]["tiles"] == 2
    assert set(document["probe"]) >= {
        "latency",
        "per_mb_s",
        "base_s",
        "disk_bytes",
        "ratio",
        "headers",
        "seed",
    }


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_probe_of_none_is_refused(number, small):
    assert command("plan", small, "--probe", number).status == 2


# ---------------------------------------------------------------- the question


@pytest.fixture
def big(emulator, tmp_path):
    return write_job(tmp_path, job(emulator, **BIG))


def test_a_terminal_is_asked_before_a_large_run_and_no_means_no(big, tmp_path, emulator):
    status, shown = on_terminal("run", big, answers=[("Continue?", "n")], cwd=tmp_path)
    assert status == 130, shown
    assert "385.81 GB in 46,225 requests" in shown
    assert not (tmp_path / "mosaic.zarr").exists()
    assert getpixels(emulator) == []


def test_ctrl_c_ends_the_question(big, tmp_path, emulator):
    status, shown = on_terminal("run", big, answers=[("Continue?", "\x03")], cwd=tmp_path)
    assert status == 130, shown
    assert not (tmp_path / "mosaic.zarr").exists()


def test_what_is_no_answer_is_asked_again(big, tmp_path):
    status, shown = on_terminal(
        "run", big, answers=[("Continue?", "maybe"), ("Continue?", "no")], cwd=tmp_path
    )
    assert status == 130, shown
    assert "answer y or n" in shown


def test_yes_on_the_terminal_goes_on(big, tmp_path):
    status, shown = on_terminal("run", big, answers=[("Continue?", "y")], cwd=tmp_path)
    assert status == 4, shown
    assert "2 requests are made" in shown
    assert (tmp_path / "mosaic.zarr").is_dir()


def test_yes_on_the_command_line_asks_nothing(big, tmp_path):
    status, shown = on_terminal("run", big, "--yes", cwd=tmp_path)
    assert status == 4, shown
    assert "Continue?" not in shown


def test_without_a_terminal_it_goes_on_with_a_line(big):
    ended = command("run", big)
    assert ended.status == 4
    assert "more than 50 GB or 100,000 requests" in ended.err


def test_a_small_run_asks_nothing(small, tmp_path):
    status, shown = on_terminal("run", small, cwd=tmp_path)
    assert status == 0, shown
    assert "?" not in shown


def test_bands_are_described_by_what_the_catalogue_states(emulator, tmp_path):
    """Landsat's surface temperature in kelvin, once its scale is applied; quality bits; the same in JSON."""
    source = {
        "collection": ["LANDSAT/LC08/C02/T1_L2", "LANDSAT/LC09/C02/T1_L2"], "start": "2022-01-01", "end": "2022-02-01",
        "bands": ["SR_B4", "ST_B10", "QA_PIXEL", {"warm": "ST_B10 > 30000"}],
    }  # fmt: skip
    region = {"bbox": [-122.12, 37.42, -122.10, 37.44]}
    made = write_job(tmp_path, job(emulator, tmp_path / "m.zarr", source=source, region=region))
    said = command("plan", made).out
    assert "  SR_B4: Band 4 (red) surface reflectance, × 2.75e-05, − 0.2" in said
    assert "surface temperature, in K, × 0.00341802, + 149" in said
    assert "warm: " not in said.split("group")[0].replace("bands of", "")
    bands = {
        b["id"]: b.get("attributes", {})
        for b in command("plan", made, "--json").document["groups"][0]["bands"]
    }
    assert bands["ST_B10"]["units"] == "K"
    assert len(bands["QA_PIXEL"]["flag_masks"]) == len(bands["QA_PIXEL"]["flag_values"])
    scaled = command("plan", made, "--set", "source.scale=catalog").out
    assert "surface temperature, in K" in scaled
    assert "×" not in scaled.split("group")[0]
