"""Rows 38 and 39 of the fault catalogue: whatever befalls a mosaic's objects is found, and only that is fetched again."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.harness import LARGE, asked, cli, key_of, snapshot
from tests.oracle import QUICKSTART

ABSENT = 2**64 - 1


def entries(data: bytes, slots: int) -> dict[int, tuple[int, int]]:
    """Slot → (offset, length), read from a shard's bytes by the specification alone."""
    index = struct.unpack(f"<{2 * slots}Q", data[-16 * slots - 4 : -4])
    return {s: (index[2 * s], index[2 * s + 1]) for s in range(slots) if index[2 * s] != ABSENT}


def change(path: Path, offset: int, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    assert data[offset : offset + len(new)] != new, "the damage must change something"
    data[offset : offset + len(new)] = new
    path.write_bytes(data)


def flip(path: Path, offset: int) -> None:
    data = path.read_bytes()
    change(path, offset, bytes([data[offset] ^ 0x10]))


def bit_in_data(path: Path) -> set[int]:
    offset, length = entries(path.read_bytes(), 4)[2]
    flip(path, offset + length // 2)
    return {2}


def bit_in_checksum(path: Path) -> set[int]:
    offset, length = entries(path.read_bytes(), 4)[1]
    flip(path, offset + length - 1)
    return {1}


def bit_in_index(path: Path) -> set[int]:
    flip(path, path.stat().st_size - 40)
    return {0, 1, 2, 3}


def truncated(path: Path) -> set[int]:
    path.write_bytes(path.read_bytes()[:-10])
    return {0, 1, 2, 3}


def cut_to_the_index(path: Path) -> set[int]:
    """A plausible tail whose chunks are gone."""
    path.write_bytes(path.read_bytes()[-68:])
    return {0, 1, 2, 3}


def empty(path: Path) -> set[int]:
    path.write_bytes(b"")
    return {0, 1, 2, 3}


def deleted(path: Path) -> set[int]:
    path.unlink()
    return {0, 1, 2, 3}


def zeroed_page(path: Path) -> set[int]:
    data = path.read_bytes()
    start = len(data) // 2 // 4096 * 4096
    change(path, start, bytes(4096))
    return {s for s, (o, n) in entries(data, 4).items() if o < start + 4096 and o + n > start}


def zeroed_file(path: Path) -> set[int]:
    change(path, 0, bytes(path.stat().st_size))
    return {0, 1, 2, 3}


def test_every_damage_of_a_shard_is_found_and_only_its_tiles_are_fetched_again(
    make, emulator, tmp_path
) -> None:
    made = make("sharded", LARGE, ("B2",))
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    damages = (
        bit_in_data, bit_in_checksum, bit_in_index, truncated, cut_to_the_index, empty, deleted, zeroed_page, zeroed_file,
    )  # fmt: skip
    wanted: dict[str, set[tuple[int, int]]] = {}
    for number, damage in enumerate(damages):
        row, column = number // 4 + 1, number % 4
        slots = damage(mosaic / f"B2/c/{row}/{column}")
        wanted[f"B2/c/{row}/{column}"] = {(2 * row + s // 2, 2 * column + s % 2) for s in slots}
    untouched = {k: v for k, v in snapshot(mosaic / "B2").items() if f"B2/{k}" not in wanted}

    looked = cli("verify", mosaic, "--json")
    assert looked.status == 3, looked
    found = looked.document
    told: dict[str, set[tuple[int, int]]] = {}
    for one in found["damaged"]:
        told.setdefault(one["object"], set()).update((row, column) for _, row, column in one["tiles"])
    assert told == wanted
    tiles = set().union(*wanted.values())
    assert found["lost"] == []
    assert found["coverage_cells"] == {"": len(tiles)}
    assert found["groups"][""]["missing"] == len(tiles) == found["damaged_tiles"]

    repaired = cli("verify", mosaic, *key_of(emulator), "--repair")
    assert repaired.status == 0, repaired
    assert asked(emulator, made.origin) == {(QUICKSTART, "B2", row, column): 1 for row, column in tiles}
    assert untouched.items() <= snapshot(mosaic / "B2").items()
    made.check(mosaic)
    assert cli("verify", mosaic).status == 0


def plain_bit(path: Path) -> None:
    flip(path, path.stat().st_size // 2)


def plain_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def plain_longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def plain_page(path: Path) -> None:
    change(path, 4096, bytes(4096))


def plain_other_tile(path: Path) -> None:
    """A whole and readable object that is another tile's."""
    path.write_bytes((path.parent / "0").read_bytes())


@pytest.mark.parametrize("compressor", ["lz4", "none"])
def test_every_damage_of_a_plain_tile_is_found_and_only_that_is_fetched_again(
    make, emulator, tmp_path, compressor
) -> None:
    made = make("plain", compressor=compressor)
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    damages = (plain_bit, plain_truncated, plain_longer, plain_page, plain_other_tile, empty, deleted)
    places = [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    for damage, (row, column) in zip(damages, places, strict=True):
        damage(mosaic / f"B3/c/{row}/{column}")
    looked = cli("verify", mosaic, "--json")
    assert looked.status == 3, looked
    found = {(one["object"], one["band"], tuple(one["tiles"][0])) for one in looked.document["damaged"]}
    assert found == {(f"B3/c/{row}/{column}", "B3", (0, row, column)) for row, column in places}
    repaired = cli("verify", mosaic, *key_of(emulator), "--repair")
    assert repaired.status == 0, repaired
    assert asked(emulator, made.origin) == {(QUICKSTART, "B3", *place): 1 for place in places}
    made.check(mosaic)


def test_several_bands_and_shards_at_once(make, emulator, tmp_path) -> None:
    made = make("sharded")
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    plain_bit(mosaic / "B2/c/0/0")
    plain_bit(mosaic / "B3/c/0/0")
    (mosaic / "B3/c/2/1").unlink()
    looked = cli("verify", mosaic)
    assert looked.status == 3
    assert "tile 0/2/1: the object is gone" in looked.out
    assert "tile 0/0/0: the chunk's checksum does not match" in looked.out
    repaired = cli("verify", mosaic, *key_of(emulator), "--repair")
    assert repaired.status == 0, repaired
    places = [("B2", 0, 0), ("B3", 0, 0), ("B3", 2, 1)]
    assert asked(emulator, made.origin) == {(QUICKSTART, *place): 1 for place in places}
    made.check(mosaic)


def test_a_run_repairs_what_it_can_see_without_reading_pixels(make, emulator, tmp_path) -> None:
    made = make("sharded", LARGE, ("B2",))
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    for damage, place in ((deleted, "0/0"), (truncated, "1/1"), (empty, "5/5")):
        damage(mosaic / "B2/c" / place)
    job_file = mosaic / ".downloader/job.yaml"
    ended = cli("run", job_file, "--set", f"mosaic.path={json.dumps(str(mosaic))}")
    assert ended.status == 0, ended
    assert "12 tiles (band by band)" in ended.err
    assert len(asked(emulator, made.origin)) == 12
    made.check(mosaic)


def test_a_repair_that_cannot_fetch_leaves_an_honest_mosaic(make, emulator, tmp_path) -> None:
    """Without the service: what is damaged is missing, to `coverage` and to the next run."""
    made = make("sharded")
    emulator.control("configure", {"faults": [{"fault": "permission-403", "on": "asset"}]})
    mosaic = made.copy(tmp_path / "m")
    plain_bit(mosaic / "B2/c/1/1")
    ended = cli("verify", mosaic, *key_of(emulator), "--repair")
    assert ended.status == 6, ended
    looked = cli("verify", mosaic, "--json").document
    assert looked["intact"]
    assert looked["groups"][""]["missing"] == 1
    assert looked["coverage_cells"] == {}
    emulator.control("reset", {})
    run = cli("run", mosaic / ".downloader/job.yaml", "--set", f"mosaic.path={json.dumps(str(mosaic))}")
    assert run.status == 0, run
    assert asked(emulator, made.origin) == {(QUICKSTART, "B2", 1, 1): 1}
    made.check(mosaic)


def test_an_intact_mosaic_is_repaired_by_leaving_it_alone(make, emulator, tmp_path) -> None:
    made = make("sharded")
    emulator.control("reset", {})
    mosaic = made.copy(tmp_path / "m")
    before = snapshot(mosaic)
    ended = cli("verify", mosaic, *key_of(emulator), "--repair")
    assert ended.status == 0, ended
    after = snapshot(mosaic)
    before.pop(".downloader/lock")
    after.pop(".downloader/lock")
    assert after == before
    assert emulator.control("state")["requests"] == {}
