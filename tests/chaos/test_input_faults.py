"""Rows 45 and 50 to 57: what a user may give; the command line in this process, the service in its own."""

from __future__ import annotations

import json

import pytest

from downloader.__main__ import main
from tests import harness
from tests.chaos.kit import TILES

NAMES = f"asset: {harness.ASSET}"


@pytest.fixture
def command(lab, capsys):
    """Runs a command that must end with a status and say some words, and nothing secret; what it said."""

    def run(*arguments, status, says=()):
        assert main([*map(str, arguments)]) == status, capsys.readouterr()
        captured = capsys.readouterr()
        said = captured.out + captured.err
        for words in [says] if isinstance(says, str) else says:
            assert words in said, said
        assert "Traceback" not in said
        for word in harness.secrets(lab.emulator.key_file):
            assert word.decode() not in said
        return said

    return run


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("source: {asset: x\n", ["line 2", "YAML"]),
        ("source: {asset: x}\nsource: {asset: y}\nmosaic: {path: z}\n", ["line 2", "source", "twice"]),
        (f"source: {{{NAMES}}}\nmosaic: {{pth: z}}\n", ["line 2", "mosaic.pth", "did you mean path?"]),
        (
            f"source: {{{NAMES}}}\nmosaic: {{path: z}}\nlimits: {{concurrency: many}}\n",
            ["line 3", "limits.concurrency"],
        ),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]\n", ["unknown key"]),
        (b"source: \xff\xfe\n", ["UTF-8"]),
        ("", ["empty"]),
        ("- a\n- b\n", ["not a list"]),
    ],
    ids=["syntax", "duplicate", "unknown", "type", "aliases", "encoding", "empty", "list"],
)
def test_row_50_job_files(tmp_path, command, text, says):
    file = tmp_path / "bad.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    said = command("run", file, status=2, says="bad.yaml")
    missing = [words for words in says if words.lower() not in said.lower()]
    assert not missing, said


def test_row_50_alias_bomb(tmp_path, command):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    file = tmp_path / "bomb.yaml"
    file.write_text("\n".join(lines))
    command("run", file, status=2, says="bomb.yaml")


@pytest.mark.parametrize(
    ("region", "says"),
    [
        (harness.window(20_000, 0, 10, 10), "region"),
        ({"bbox": [10.0, 50.0, 11.0, 51.0]}, "region.bbox"),
        ({"bbox": [37.2, -122.3, 37.3, -122.2]}, ["region.bbox", "longitude"]),
        ({"bbox": [-122.0, 37.5, -122.0, 37.5]}, "region.bbox"),
        ({"bbox": [-122.0, 37.5, -121.9, 95.0]}, "region.bbox"),
    ],
    ids=["outside", "elsewhere", "swapped", "empty", "beyond the pole"],
)
def test_row_51_regions(lab, command, region, says):
    lab.job(region=region)
    command("run", lab.job_file, status=2, says=says)
    assert lab.requests() == 0
    assert not lab.mosaic.exists()


@pytest.mark.parametrize(("width", "height"), [(1, 700), (700, 1), (257, 257), (256, 513)])
def test_row_52_a_last_row_or_column_one_pixel_wide(lab, command, width, height):
    """Partly outside the image, and clipped there to so much."""
    column, row = 10980 - width, 10980 - height
    lab.job(region=harness.window(column, row, 2000, 2000))
    command("run", lab.job_file, status=0, says="complete")
    assert harness.compare(lab.mosaic, column=column, row=row) == width * height * 2


def test_row_53_bands(lab, command):
    lab.job(bands=("B2", "B2"))
    command("run", lab.job_file, status=2, says="more than once")
    lab.job(bands=("B2", "B99"))
    command("run", lab.job_file, status=2, says="B99")
    lab.job(bands=("B2", "B1"), region=harness.window(0, 0, 600, 600))
    command("run", lab.job_file, status=0, says="complete")
    assert set(harness.band_arrays(lab.mosaic)) == {"10m/B2", "60m/B1"}


@pytest.mark.parametrize("name", ["BANDS_700", "BANDS_1025"])
def test_row_53_many_bands(lab, command, name):
    """More than a request may name are asked for in runs."""
    bands = int(name.partition("_")[2])
    lab.job(asset=f"EMULATOR/{name}", region={}, bands=[f"B{n}" for n in range(bands)])
    command("run", lab.job_file, status=0, says="complete")
    arrays = harness.band_arrays(lab.mosaic)
    assert len(arrays) == bands
    image = f"projects/earthengine-public/assets/EMULATOR/{name}"
    for band in ("B0", f"B{bands // 2}", f"B{bands - 1}"):
        harness.same_bits(arrays[band][:], harness.oracle_window(image, band, 0, 0, 64, 48), band)


@pytest.mark.parametrize(
    ("asset", "status", "says"),
    [
        ("COPERNICUS/S2", 2, "COPERNICUS/S2"),
        ("COPERNICUS", 2, "COPERNICUS"),
        ("users/somebody/image", 2, "users/somebody/image"),
        ("NO/SUCH/IMAGE", 2, "NO/SUCH/IMAGE"),
        ("../secrets", 2, "../secrets"),
        (f"projects/earthengine-public/assets/{harness.ASSET}", 0, "complete"),
    ],
)
def test_row_54_assets(lab, command, asset, status, says):
    lab.job(asset=asset, region=harness.window(0, 0, 256, 256))
    command("run", lab.job_file, status=status, says=says)


@pytest.mark.parametrize("kind", ["missing", "no json", "another type", "no key", "folder"])
def test_row_55_key_files(lab, command, kind, tmp_path):
    file = tmp_path / "broken-key.json"
    key = json.loads(lab.emulator.key_file.read_text())
    secret = key["private_key"]
    if kind == "no json":
        file.write_text(secret)
    elif kind == "another type":
        file.write_text(json.dumps({**key, "type": "something_else"}))
    elif kind == "no key":
        file.write_text(json.dumps({**key, "private_key": secret[: len(secret) // 2]}))
    elif kind == "folder":
        file.mkdir()
    lab.job(auth={"key_file": str(file)})
    command("run", lab.job_file, status=6, says="broken-key.json")
    assert lab.requests("token") == 0


def test_row_55_a_key_file_that_all_can_read_is_warned_about(lab, command, tmp_path):
    file = tmp_path / "key" / "open.json"
    file.parent.mkdir()
    file.write_bytes(lab.emulator.key_file.read_bytes())
    file.chmod(0o644)
    lab.job(auth={"key_file": str(file)})
    command("run", lab.job_file, status=0, says=["open.json", "chmod 600"])


def test_row_55_a_key_file_inside_the_mosaic_is_refused(lab, command, monkeypatch):
    file = lab.mosaic / "key.json"
    lab.mosaic.mkdir()
    file.write_text("{}")
    lab.job(auth={"key_file": str(lab.folder / "x" / ".." / "mosaic.zarr" / "key.json")})
    command("run", lab.job_file, status=2, says=["inside the mosaic", "move it out"])
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    lab.job(auth=None)
    command("run", lab.job_file, status=2, says=["inside the mosaic", "move it out"])


@pytest.mark.parametrize(("fault", "status"), [("not-found-404", 2), ("permission-403", 6)])
def test_row_57_the_image_is_lost_in_mid_job(lab, command, fault, status):
    """A job of one image ends there, with what came saved; of several, the others go on (a later row)."""
    lab.job(limits={"concurrency": 1})  # others are stored by then, however slow the machine is
    lab.faults({"fault": fault, "skip": 5})
    command("run", lab.job_file, status=status, says=harness.ASSET.rpartition("/")[2])
    assert 0 < lab.stored_tiles_are_right() < TILES
    lab.faults()
    command("run", lab.job_file, status=0, says="complete")
    lab.right()
