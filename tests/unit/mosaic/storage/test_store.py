"""One contract, every store; and what only a disk has."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from downloader.mosaic.storage import disk
from downloader.mosaic.storage.bucket import BucketStore
from downloader.mosaic.storage.disk import DiskStore, read_file


def open_below(folder: Path) -> list[str]:
    """Files and folders below a folder that this process holds open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(str(folder))]


@pytest.fixture(params=["disk", "disk without descriptors of folders", "memory"])
def store(request, tmp_path, monkeypatch):
    if request.param.startswith("disk"):
        monkeypatch.setattr(disk, "FOLDERS", request.param == "disk")
        return DiskStore(tmp_path)
    from obstore.store import MemoryStore

    return BucketStore(MemoryStore(), "memory://test")


def test_what_was_put_comes_back_whole_and_in_part(store) -> None:
    store.put("a/c/0", [b"abc", memoryview(b"def"), b"", b"g"])
    assert bytes(store.get("a/c/0")) == b"abcdefg"
    assert bytes(store.get_range("a/c/0", 2, 5)) == b"cde"
    store.put("a/c/0", [b"new"])
    assert bytes(store.get("a/c/0")) == b"new"


def test_an_absent_object_is_a_file_not_found(store) -> None:
    with pytest.raises(FileNotFoundError):
        store.get("nothing")
    with pytest.raises(FileNotFoundError):
        store.get_range("nothing", 0, 1)


def test_replace_makes_the_new_from_the_old(store) -> None:
    store.replace("a", lambda old: [b"new" if old is None else b"?"])
    store.replace("a", lambda old: [bytes(old), b"er"])
    assert bytes(store.get("a")) == b"newer"


def test_all_of_several_are_done_and_an_error_is_told(store) -> None:
    store.at_once([lambda key=key: store.put(key, [b"x"]) for key in "abc"])
    assert [bytes(store.get(key)) for key in "abc"] == [b"x"] * 3

    def broken() -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        store.at_once([lambda: None, broken])
    assert store.writers > 0


def test_list_tells_keys_and_lengths_below_a_folder(store) -> None:
    for key, data in {"a/c/0/0": b"1", "a/c/0/1": b"22", "ab/c/0": b"333"}.items():
        store.put(key, [data])
    assert dict(store.list("a")) == {"a/c/0/0": 1, "a/c/0/1": 2}
    assert dict(store.list("none")) == {}


def test_delete_forgets_and_forgives(store) -> None:
    for key in ("a/1", "a/2", "b/1"):
        store.put(key, [b"x"])
    store.delete(["a/1", "never"])
    store.delete_folder("b")
    store.delete_folder("never")
    assert dict(store.list("a")) == {"a/2": 1}
    assert dict(store.list("b")) == {}


def test_append_keeps_the_order(store) -> None:
    for number in range(12):
        store.append("ledger/run.jsonl", b"%d\n" % number)
    data = b"".join(bytes(store.get(key)) for key in sorted(key for key, _ in store.list("ledger")))
    assert data == b"".join(b"%d\n" % number for number in range(12))


def test_sweep_removes_staged_files_only(tmp_path) -> None:
    store = DiskStore(tmp_path)
    store.put("B2/c/0/0", [b"x"])
    (tmp_path / "B2/c/0/1#1").write_bytes(b"half")
    (tmp_path / "B2/c/0/0#23").write_bytes(b"half")
    (tmp_path / "note#no").write_bytes(b"mine")
    assert dict(store.list("B2")) == {"B2/c/0/0": 1}
    assert store.sweep() == 2
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["0", "note#no"]


def test_flush_syncs_files_before_the_folders_that_name_them(tmp_path, monkeypatch) -> None:
    store = DiskStore(tmp_path)
    store.put("B2/c/0/0", [b"x"])
    store.put("B2/c/0/1", [b"x"])
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())), fsync(fd))[1]
    )
    store.flush(["B2/c/0/0", "B2/c/0/1"])
    names = [path.removeprefix(str(tmp_path)) or "/" for path in synced]
    assert names == ["/B2/c/0/0", "/B2/c/0/1", "/B2/c/0", "/B2/c", "/B2", "/"]
    synced.clear()
    store.flush(["B2/c/0/1"])
    assert [path.removeprefix(str(tmp_path)) for path in synced] == ["/B2/c/0/1", "/B2/c/0"]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system has no such call")
def test_flush_gives_back_the_pages_of_large_files_once_they_are_on_the_disk(tmp_path, monkeypatch) -> None:
    store = DiskStore(tmp_path)
    large, small = bytes(2**18), b"small"
    store.put("large", [large])
    store.put("small", [small])
    done: list[tuple[object, ...]] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(("sync", os.fstat(fd).st_size)), fsync(fd))[1])
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, *how: done.append(("give back", os.fstat(fd).st_size, *how))
    )
    store.flush(["large", "small"])
    assert done[:3] == [
        ("sync", 2**18),
        ("give back", 2**18, 0, 0, os.POSIX_FADV_DONTNEED),
        ("sync", len(small)),
    ]
    assert [step for step, *_ in done[3:]] == ["sync"]  # their folder
    assert (store.get("large"), store.get("small")) == (large, small)


def test_a_scratch_store_syncs_nothing(tmp_path, monkeypatch) -> None:
    store = DiskStore(tmp_path, durable=False)
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("synced"))
    store.put("a", [b"x"])
    store.flush(["a"])
    store.append("log", b"line\n")
    assert (tmp_path / "log").read_bytes() == b"line\n"


def test_a_line_that_does_not_fit_is_taken_back(tmp_path, monkeypatch) -> None:
    store = DiskStore(tmp_path)
    store.append("log", b"one\n")
    write = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(errno.ENOSPC, "full")
        return write(fd, data[:2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(OSError, match="full"):
            store.append("log", b"two\n")
    store.append("log", b"three\n")
    assert (tmp_path / "log").read_bytes() == b"one\nthree\n"


def test_errors_carry_their_errno(tmp_path) -> None:
    store = DiskStore(tmp_path)
    store.put("a", [b"x"])
    with pytest.raises(OSError, match="Not a directory") as caught:
        store.put("a/b", [b"x"])
    assert caught.value.errno == errno.ENOTDIR


def test_free_bytes_are_known_on_a_disk(tmp_path) -> None:
    assert DiskStore(tmp_path).free()[0] > 0


def test_a_put_writes_its_pieces_one_after_the_other(tmp_path) -> None:
    pieces = [b"ab", b"", np.arange(3, dtype="u1"), memoryview(b"xyz")] * 3000
    DiskStore(tmp_path).put("a", pieces)
    assert (tmp_path / "a").read_bytes() == b"".join(bytes(piece) for piece in pieces)


def test_a_put_that_fails_leaves_what_was_there(tmp_path, monkeypatch) -> None:
    store = DiskStore(tmp_path)
    store.put("a/b", [b"old"])

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="full"):
        store.put("a/b", [b"new"])
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert bytes(store.get("a/b")) == b"old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_the_systems_own_full_disk_has_its_errno(tmp_path, monkeypatch) -> None:
    opened = os.open
    monkeypatch.setattr(
        os,
        "open",
        lambda path, flags, mode=0o777, **where: (
            opened("/dev/full", os.O_WRONLY) if "#" in str(path) else opened(path, flags, mode, **where)
        ),
    )
    with pytest.raises(OSError, match="No space") as caught:
        DiskStore(tmp_path).put("a", [b"new"])
    assert caught.value.errno == errno.ENOSPC


def test_an_error_is_raised_when_all_others_have_ended(store) -> None:
    ended = []

    def slow() -> None:
        time.sleep(0.2)
        ended.append(1)

    def broken() -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        store.at_once([slow, broken])
    assert ended == [1]


def test_a_folder_that_was_moved_gets_nothing_built_in_its_place(tmp_path) -> None:
    (tmp_path / "old").mkdir()
    store = DiskStore(tmp_path / "old")
    store.put("B2/c/0/0", [b"one"])
    (tmp_path / "old").rename(tmp_path / "new")
    store.put("B2/c/0/1", [b"two"])
    store.append(".downloader/ledger/x", b"line\n")
    store.flush(["B2/c/0/1"])
    assert dict(store.list("B2")) == {"B2/c/0/0": 3, "B2/c/0/1": 3}
    assert not (tmp_path / "old").exists()
    assert (tmp_path / "new/B2/c/0/1").read_bytes() == b"two"


def test_a_folder_that_was_deleted_is_not_made_again(tmp_path) -> None:
    (tmp_path / "m").mkdir()
    store = DiskStore(tmp_path / "m")
    store.put("a", [b"x"])
    shutil.rmtree(tmp_path / "m")
    with pytest.raises(FileNotFoundError):
        store.put("B2/c/0/0", [b"x"])
    with pytest.raises(FileNotFoundError):
        store.append("log", b"x")
    assert not (tmp_path / "m").exists()


def test_without_descriptors_another_folder_in_its_place_is_refused(tmp_path, monkeypatch) -> None:
    """As on Windows: looked at before each access, since there is nothing to hold on to."""
    monkeypatch.setattr(disk, "FOLDERS", False)
    (tmp_path / "m").mkdir()
    store = DiskStore(tmp_path / "m")
    store.put("a/0", [b"x"])
    (tmp_path / "m").rename(tmp_path / "moved")
    with pytest.raises(OSError, match="the folder was moved or replaced"):
        store.put("a/1", [b"y"])
    (tmp_path / "m").mkdir()
    for write in (
        lambda: store.put("a/1", [b"y"]),
        lambda: store.append("l", b"y"),
        lambda: store.delete(["a/0"]),
    ):
        with pytest.raises(OSError, match="the folder was moved or replaced"):
            write()
    assert list((tmp_path / "m").iterdir()) == []
    assert (tmp_path / "moved/a/0").read_bytes() == b"x"
    shutil.rmtree(tmp_path / "m")
    (tmp_path / "moved").rename(tmp_path / "m")
    store.put("a/1", [b"y"])
    assert (tmp_path / "m/a/1").read_bytes() == b"y"


@pytest.mark.parametrize("folders", [True, False])
def test_a_folder_in_place_of_an_object_gives_way(tmp_path, monkeypatch, folders) -> None:
    monkeypatch.setattr(disk, "FOLDERS", folders)
    store = DiskStore(tmp_path)
    for key in ("put", "replaced", "deleted"):
        (tmp_path / key / "inner").mkdir(parents=True)
        (tmp_path / key / "inner" / "file").write_bytes(b"?")
    with pytest.raises(IsADirectoryError):
        store.get("put")
    store.put("put", [b"new"])
    store.replace("replaced", lambda old: [b"none" if old is None else b"?"])
    store.delete(["deleted"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "put": b"new",
        "replaced": b"none",
    }


def test_a_pipe_is_not_waited_for(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe")
    store = DiskStore(tmp_path)
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        store.get("pipe")
    with pytest.raises(OSError, match="a pipe, a socket or a device"):
        read_file(tmp_path / "pipe")


def test_a_closed_store_leaves_no_descriptor(tmp_path) -> None:
    store = DiskStore(tmp_path)
    store.put("a/b/c", [b"x"])
    assert list(store.list(""))
    assert store.sweep() == 0
    store.delete_folder("a")
    del store
    gc.collect()
    assert open_below(tmp_path) == []
