"""A bucket's objects under faults: nothing lost, nothing twice, nothing over what is not known, no secret told."""

from __future__ import annotations

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest

from downloader.errors import AuthenticationError, LockedError, RefusedError
from downloader.mosaic.record.paths import LEDGER
from downloader.mosaic.storage import bucket
from tests.buckets.server import SECRET


def once(kind: str, *, method: str = "PUT", path: str = ""):
    """A fault that strikes the first request of its kind."""
    struck: list[bool] = []

    def fault(request) -> str | None:
        if struck or request.method != method or path not in request.path:
            return None
        struck.append(True)
        return kind

    return fault


def test_the_contract_of_a_store_holds_over_the_protocol(cloud) -> None:
    store = cloud.store()
    store.put("a/c/0/0", [b"abc", memoryview(b"def"), b"", b"g"])
    assert bytes(store.get("a/c/0/0")) == b"abcdefg"
    assert bytes(store.get_range("a/c/0/0", 2, 5)) == b"cde"
    store.put("a/c/0/0", [b"new"])
    store.put("ab/c/0", [b"x"])
    store.replace("a/c/0/0", lambda old: [bytes(old), b"er"])
    assert dict(store.list("a")) == {"a/c/0/0": 5}
    assert store.entries() == {"a", "ab"}
    assert store.entries("a") == {"c"}
    assert store.entries("nothing") == frozenset()
    with pytest.raises(FileNotFoundError):
        store.get("a/c/9")
    with pytest.raises(FileNotFoundError):
        store.get_range("a/c/9", 0, 1)
    store.delete(["a/c/0/0", "never"])
    store.delete_folder("ab")
    assert list(store.list("")) == []
    assert store.free() == (None, None)


@pytest.mark.parametrize("kind", ["busy", "lost", "stall", "lost stall"])
@pytest.mark.parametrize("what", ["new", "over", "topped up", "appended", "swapped"])
def test_a_put_survives(cloud, kind, what) -> None:
    """Whether it was carried out or not, the object is right, and put once for all that anybody can see."""
    store = cloud.store(timeout="1s")
    if what in {"over", "topped up"}:
        store.put("k", [b"old"])
    tag = store.swap("s", b"before", None) if what == "swapped" else None
    cloud.proxy.fault = once(kind)
    asked: list[int] = []
    store.contested = lambda: asked.append(1)
    if what == "topped up":
        store.replace("k", lambda old: [bytes(old), b"+new"])
        assert bytes(store.get("k")) == b"old+new"
    elif what == "appended":
        store.append("log", b"one\n")
        store.append("log", b"two\n")
        assert [bytes(store.get(key)) for key, _ in store.list("log")] == [b"one\ntwo\n"]
    elif what == "swapped":
        assert store.swap("s", b"after, and nobody else's", tag) is not None
        assert bytes(store.get("s")) == b"after, and nobody else's"
    else:
        store.put("k", [b"new"])
        assert bytes(store.get("k")) == b"new"
    assert cloud.proxy.faults[kind] == 1


@pytest.mark.parametrize("what", ["put", "topped up", "appended", "swapped"])
def test_a_conflict_is_tried_again_and_is_nobody_elses_object(cloud, what) -> None:
    """S3's 409 says that another request for the key is under way, and nothing of what is there."""
    store = cloud.store()
    store.put("k", [b"old"])
    tag = store.swap("s", b"before", None)
    left = [3]

    def conflict(request) -> str | None:
        if request.method != "PUT" or not left[0]:
            return None
        left[0] -= 1
        return "conflict"

    store.contested = lambda: pytest.fail("asked its lease")
    cloud.proxy.fault = conflict
    if what == "topped up":
        store.replace("k", lambda old: [bytes(old), b"+new"])
        assert bytes(store.get("k")) == b"old+new"
    elif what == "appended":
        store.append("log", b"one\n")
        assert [bytes(store.get(key)) for key, _ in store.list("log")] == [b"one\n"]
    elif what == "swapped":
        assert store.swap("s", b"after", tag) is not None
        assert bytes(store.get("s")) == b"after"
    else:
        store.put("new", [b"new"])
        assert bytes(store.get("new")) == b"new"
    assert cloud.proxy.faults["conflict"] == 3


def test_conflicts_without_end_are_given_up(cloud, monkeypatch) -> None:
    monkeypatch.setattr(bucket, "_CONFLICT_PAUSE_S", 0.001)
    cloud.proxy.fault = lambda request: "conflict" if request.method == "PUT" else None
    for act in (lambda store: store.append("log", b"x"), lambda store: store.put("k", [b"x"])):
        with pytest.raises(OSError, match="409"):
            act(cloud.store())


def test_reads_are_tried_again_too(cloud) -> None:
    store = cloud.store(timeout="1s")
    store.put("k", [b"data"])
    for kind in ("busy", "stall", "lost"):
        cloud.proxy.fault = once(kind, method="GET")
        assert bytes(store.get("k")) == b"data"
        cloud.proxy.fault = once(kind, method="GET")
        assert dict(store.list("")) == {"k": 4}


def test_a_busy_store_is_given_up_in_the_end_and_said_in_one_line(cloud) -> None:
    cloud.proxy.fault = lambda _: "busy"
    with pytest.raises(
        OSError, match=r"503 Service Unavailable SlowDown: Please reduce.*after 1 retries"
    ) as caught:
        cloud.store(retries=1).put("k", [b"x"])
    assert caught.value.errno == errno.EIO
    assert "\n" not in str(caught.value)


def test_a_stale_writer_writes_over_nothing(cloud) -> None:
    """It read an object, slept, and another one wrote meanwhile: its put does not take, and its lease says why."""
    sleeper, other = cloud.store(), cloud.store()
    other.put("fresh", [b"the other's"])
    sleeper.put("k", [b"1"])

    def lost() -> None:
        raise LockedError("taken over")

    def meanwhile(old) -> list[bytes]:
        other.replace("k", lambda now: [bytes(now), b"2"])
        return [bytes(old), b"3"]

    sleeper.contested = lost
    with pytest.raises(LockedError, match="taken over"):
        sleeper.replace("k", meanwhile)
    with pytest.raises(LockedError, match="taken over"):
        sleeper.put("fresh", [b"the sleeper's"])
    assert bytes(other.get("k")) == b"12"
    assert bytes(other.get("fresh")) == b"the other's"


def test_the_rightful_writer_writes_beside_what_a_stale_one_left(cloud) -> None:
    rightful, stale = cloud.store(), cloud.store()
    rightful.put("k", [b"1"])
    done: list[bool] = []

    def make(old) -> list[bytes]:
        if not done:
            done.append(True)
            stale.replace("k", lambda now: [bytes(now), b"2"])
        return [bytes(old), b"3"]

    asked: list[int] = []
    rightful.contested = lambda: asked.append(1)
    rightful.replace("k", make)
    assert bytes(rightful.get("k")) == b"123"
    stale.put("fresh", [b"stale"])
    rightful.put("fresh", [b"rightful"])
    assert bytes(rightful.get("fresh")) == b"rightful"
    assert len(asked) == 2


def test_every_put_of_an_object_says_what_must_be_there(cloud) -> None:
    store = cloud.store()
    store.put("B2/c/0/0", [b"x"])
    store.replace("B2/c/0/0", lambda old: [b"y"])
    store.put("zarr.json", [b"{}"])
    store.put("zarr.json", [b"{ }"])
    store.append(f"{LEDGER}/run", b"line\n")
    puts = [request for request in cloud.proxy.requests if request.method == "PUT"]
    assert {request.is_conditional for request in puts if LEDGER not in request.path} == {True}
    assert {request.is_conditional for request in puts if LEDGER in request.path} == {False}


def test_of_many_at_once_one_swaps(cloud) -> None:
    store = cloud.store()

    def take(number: int) -> bool:
        return store.swap("lease", b"%d" % number, None) is not None

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(take, range(8)))
    assert won.count(True) == 1
    assert bytes(store.get("lease")) == b"%d" % won.index(True)


def test_a_log_is_numbered_objects_whose_last_one_grows(cloud, monkeypatch) -> None:
    monkeypatch.setattr(bucket, "_PIECE", 30)
    store = cloud.store()
    lines = [b"line %d\n" % number for number in range(11)]
    for line in lines:
        store.append("log", line)
    pieces = dict(store.list("log"))
    assert sorted(pieces) == ["log/000000000", "log/000000001", "log/000000002"]
    assert b"".join(bytes(store.get(key)) for key in sorted(pieces)) == b"".join(lines)
    again = cloud.store()
    again.append("log", b"later\n")
    assert bytes(again.get("log/000000003")) == b"later\n"


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("AccessDenied", RefusedError, "may not be read or written with these credentials"),
        ("InvalidAccessKeyId", AuthenticationError, "does not accept who asks"),
        ("SignatureDoesNotMatch", AuthenticationError, "AWS_ACCESS_KEY_ID"),
        ("ExpiredToken", AuthenticationError, "403 Forbidden ExpiredToken"),
    ],
)
def test_who_may_not_is_told_so_and_no_secret(cloud, code, error, words) -> None:
    cloud.proxy.fault = lambda _: f"403 {code}"
    store = cloud.store()
    for act in (
        lambda: store.get("k"),
        lambda: store.put("k", [b"x"]),
        lambda: list(store.list("")),
        store.entries,
        lambda: store.append("log", b"x"),
        lambda: store.delete(["k"]),
    ):
        with pytest.raises(error, match=words) as caught:
            act()
        assert cloud.url in str(caught.value)
        assert SECRET not in repr(caught.value)
        assert caught.value.__cause__ is None
    assert not hasattr(caught.value, "filename")


def test_a_bucket_that_is_not_there_is_no_missing_object(cloud) -> None:
    from obstore.store import S3Store

    store = bucket.BucketStore(
        S3Store(
            "no-such-bucket",
            endpoint=f"http://127.0.0.1:{cloud.port}",
            access_key_id="test",
            secret_access_key=SECRET,
            allow_http=True,
        ),
        "s3://no-such-bucket/a",
    )
    for act in (lambda: store.get("k"), lambda: store.put("k", [b"x"]), lambda: list(store.list(""))):
        with pytest.raises(RefusedError, match="no such bucket"):
            act()
