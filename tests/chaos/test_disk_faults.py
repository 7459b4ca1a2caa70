"""Rows 33 to 40: the disk, and what was done to the mosaic between two runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests import harness
from tests.chaos.kit import SIDE, TILES, is_root

needs_root = pytest.mark.skipif(not is_root(), reason="mounting a small file system takes root")


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of so many bytes at a folder; unmounted afterwards."""
    mounted = []

    def mount(nbytes, *, options="", folder="disk"):
        place = tmp_path / folder
        place.mkdir()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={nbytes}{options}", "tmpfs", place],
            check=False,
            capture_output=True,
            text=True,
        )
        if made.returncode:
            pytest.skip(f"cannot mount here: {made.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def grow(place, nbytes):
    subprocess.run(["mount", "-o", f"remount,size={nbytes}", place], check=True)


@needs_root
def test_row_33_disk_full_in_mid_shard(lab, small_disk):
    place = small_disk(700_000)
    lab.job(path=place / "mosaic.zarr", limits={"concurrency": 3})
    run = lab.run(status=4)
    assert any("should it get full, the run stops" in line for line in run.report["notices"])
    assert "no space left on the disk" in run.said
    assert "make room and run again" in run.said
    assert run.report["state"] == "stopped"
    assert 0 < run.report["tiles_stored"] < TILES
    mosaic = place / "mosaic.zarr"
    stored = run.report["tiles_stored"]
    grow(place, 8_000_000)
    again = lab.run()
    assert again.report["tiles_before"] == stored, "nothing that was reported stored is fetched again"
    lab.right(mosaic)


@needs_root
def test_row_33_space_is_checked_before_the_start(lab, small_disk):
    """A disk that cannot hold the pixels, for certain, costs no request for them."""
    place = small_disk(800_000)
    lab.job(path=place / "mosaic.zarr", mosaic={"compressor": "none"})
    run = lab.run(status=4)
    assert "no space left on the disk for the pixels to come: 1,960,000 bytes are needed" in run.said
    assert harness.getpixels(lab.emulator) == []
    grow(place, 8_000_000)
    lab.run()
    lab.right(place / "mosaic.zarr")


def test_row_33_file_size_limit(lab):
    """A quota that answers EFBIG: nothing half, and a clear end; without the limit the rerun completes."""
    lab.job(SIDE, request={"tiles": 4}, mosaic={"compressor": "none"})
    limited = ["bash", "-c", 'ulimit -f 64; exec "$@"', "-"]  # 64 KiB a file: less than one tile
    process = subprocess.Popen(
        [*limited, *lab.command()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        cwd=harness.ROOT,
        env=harness.environment(),
        text=True,
    )
    run = lab.end(process)
    assert run.status == 4, run
    assert "could not be written" in run.said
    assert run.report["tiles_stored"] == 0
    lab.heal()


@needs_root
def test_row_34_read_only_target(lab, small_disk):
    place = small_disk(100_000, options=",ro")
    lab.job(path=place / "mosaic.zarr")
    run = lab.run(status=5)
    assert "cannot be read or written (Read-only file system)" in run.said
    assert harness.getpixels(lab.emulator) == []


def test_row_34_target_below_a_file(lab):
    (lab.folder / "file").write_text("mine")
    lab.job(path=lab.folder / "file" / "mosaic.zarr")
    run = lab.run(status=5)
    assert str(lab.folder / "file") in run.said
    assert harness.getpixels(lab.emulator) == []
    assert (lab.folder / "file").read_text() == "mine"


def test_row_35_one_io_error_is_tried_again(lab):
    run = lab.run(wrapped=["--disk", "eio=3"])
    lab.right()
    assert run.report["tiles_stored"] == TILES
    assert lab.duplicates == 0


def test_row_35_a_broken_disk_stops_resumable(lab):
    run = lab.run(wrapped=["--disk", "eio-from=9"], status=4)
    assert "could not be written" in run.said
    assert "check the disk and run again" in run.said
    assert 0 < lab.stored_tiles_are_right() == run.report["tiles_stored"] < TILES
    lab.heal()


def test_row_36_slow_disk(lab):
    """A disk far slower than the service: fetching waits, and memory stays where it was told to."""
    limit = 160
    lab.job(
        3000,
        ("B2", "B3", "B4", "B8"),
        request={"tiles": 4},
        limits={"memory": f"{limit}MiB", "concurrency": 20},
        mosaic={"compressor": "none"},
        region=harness.window(300, 300, 3000, 3000),
    )
    run = lab.run(wrapped=["--disk", "bandwidth=50e6"])
    assert run.report["peak_memory_bytes"] <= limit * 2**20
    lab.right(side=3000, bands=("B2", "B3", "B4", "B8"))


@pytest.mark.parametrize("signals", [1, 2])
def test_row_36_a_disk_that_hangs(lab, signals):
    """A write that never returns keeps neither the run nor its process once it was asked to stop."""
    process = lab.start(wrapped=["--disk", "hang=4", "--grace", "1"])
    harness.wait_until(lambda: lab.requests() > TILES, process)
    time.sleep(0.5)
    assert process.poll() is None
    began = time.monotonic()
    for _ in range(signals):
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    run = lab.end(process)
    assert run.status == 143
    assert time.monotonic() - began < 10
    assert lab.stored_tiles_are_right() == 0, "coverage is written at the end"
    lab.heal()


@needs_root
def test_row_69_mosaic_unmounted_under_a_running_job(lab, small_disk):
    """Lazily, so that open files go on working: nothing is built on the bare mount point; mounted again, it completes."""
    place = small_disk(200 * 2**20)
    lab.job(1500, path=place / "mosaic.zarr")
    lab.faults(latency_ms=100)
    process = lab.start()
    ledger = place / "mosaic.zarr"
    harness.wait_until(lambda: harness.ledger_lines(ledger) >= 3, process)
    subprocess.run(["umount", "-l", place], check=True)
    run = lab.end(process)
    assert run.status == 5, run
    assert "unmounted while this run was writing" in run.said
    assert list(place.iterdir()) == []
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    lab.faults(latency_ms=0)
    lab.run()
    lab.right(place / "mosaic.zarr", side=1500)


def objects(lab):
    """Files that hold pixels, in order."""
    return sorted(path for path in (lab.mosaic / "B2" / "c").rglob("*") if path.is_file())


def test_row_38_damage_that_a_rerun_sees(lab):
    """A shard deleted, one truncated, one emptied, one whose index is damaged: only their tiles are fetched again."""
    lab.run()
    deleted, truncated, emptied, index = objects(lab)[2:6]
    deleted.unlink()
    truncated.write_bytes(truncated.read_bytes()[:-7])
    emptied.write_bytes(b"")
    index.write_bytes(index.read_bytes()[:-12] + bytes(13))
    asked = len(harness.getpixels(lab.emulator))
    run = lab.run()
    lab.right()
    assert run.report["tiles_before"] == TILES - 4
    assert len(harness.getpixels(lab.emulator)) - asked == 4


def test_row_38_a_flipped_bit_is_found_by_verify_and_repaired(lab):
    """Of the object's own length, so that a rerun cannot see it without reading every pixel."""
    lab.run()
    victim = objects(lab)[4]
    data = bytearray(victim.read_bytes())
    data[len(data) // 3] ^= 4
    victim.write_bytes(data)
    found = harness.cli("verify", lab.mosaic)
    assert found.status == 3, found
    assert "B2/c/1/1" in found.out
    asked = len(harness.getpixels(lab.emulator))
    repaired = harness.cli("verify", lab.mosaic, *harness.key_of(lab.emulator), "--repair")
    assert repaired.status == 0, repaired
    assert len(harness.getpixels(lab.emulator)) - asked == 1
    lab.right()
    assert harness.cli("verify", lab.mosaic).status == 0


def test_row_38_a_lost_array_document_is_written_again(lab):
    lab.run()
    (lab.mosaic / "B3" / "zarr.json").unlink()
    (lab.mosaic / "zarr.json").unlink()
    asked = len(harness.getpixels(lab.emulator))
    lab.run()
    lab.right()
    assert len(harness.getpixels(lab.emulator)) == asked


def test_row_39_ledger_rebuilt_from_the_mosaic(lab):
    """The shards are the truth: whatever became of the ledger, nothing is fetched again."""
    lab.run()
    asked = len(harness.getpixels(lab.emulator))
    folder = lab.mosaic / ".downloader" / "ledger"
    for damage in ("emptied", "garbage", "half", "deleted"):
        for ledger in folder.iterdir():
            data = ledger.read_bytes()
            ledger.write_bytes({"garbage": os.urandom(4096), "half": data[: len(data) // 2]}.get(damage, b""))
        if damage == "deleted":
            shutil.rmtree(folder)
        run = lab.run()
        assert run.report["tiles_before"] == TILES, damage
    lab.right()
    assert len(harness.getpixels(lab.emulator)) == asked


def test_row_39_ledger_of_a_newer_version(lab):
    lab.run()
    (ledger,) = (lab.mosaic / ".downloader" / "ledger").iterdir()
    ledger.write_text(json.dumps({"ledger": 99}) + "\n")
    before = harness.snapshot(lab.mosaic)
    run = lab.run(status=5)
    assert "ledger version 99" in run.said
    assert "use the one that wrote it" in run.said
    after = harness.snapshot(lab.mosaic)
    assert {k: v for k, v in after.items() if not k.endswith("lock")} == {
        k: v for k, v in before.items() if not k.endswith("lock")
    }


@pytest.mark.parametrize("kind", ["file", "folder", "zarr", "link"])
def test_row_40_something_else_lies_there(lab, kind):
    if kind == "file":
        lab.mosaic.write_text("mine")
    elif kind == "link":
        lab.mosaic.symlink_to(lab.folder / "nowhere")
    else:
        lab.mosaic.mkdir()
        (lab.mosaic / ("zarr.json" if kind == "zarr" else "photo.jpg")).write_text("{}")
    before = harness.snapshot(lab.folder) | {"link": str(lab.mosaic.is_symlink()).encode()}
    run = lab.run("--overwrite", "--yes", status=5)
    assert str(lab.mosaic) in run.said
    assert "choose another mosaic.path" in run.said
    (lab.folder / "report.json").unlink(missing_ok=True)
    assert harness.snapshot(lab.folder) | {"link": str(lab.mosaic.is_symlink()).encode()} == before
    assert harness.getpixels(lab.emulator) == []
