"""Rows 1 to 17: what the service may answer instead of pixels."""

from __future__ import annotations

import json

import pytest
import zarr

from tests import harness
from tests.chaos.kit import TILES, TWO

ONE = ("B2",)
ASSET = f"projects/earthengine-public/assets/{harness.ASSET}"


def test_row_1_sporadic_429(lab):
    lab.job(2000)
    lab.faults({"fault": "concurrency-429", "probability": 0.1}, seed=1)
    run = lab.run()
    lab.right(side=2000)
    assert run.retries["429 concurrency"] == lab.fault_counts()["concurrency-429"] > 0


def test_row_1_lower_quota_than_asked(lab):
    """Three at once in place of sixteen: all slow down together, and little is refused."""
    lab.job(3000, limits={"concurrency": 16})
    lab.faults(quota_concurrency=3, latency_ms=40)
    run = lab.run()
    lab.right(side=3000)
    records = harness.getpixels(lab.emulator)
    refused = [r["number"] for r in records if r["status"] == 429]
    later = records[len(records) // 2 :]
    assert 0 < len(refused) < 40
    assert sum(r["status"] == 429 for r in later) <= 0.05 * len(later)
    assert run.report["tiles_failed"] == 0


def test_row_2_rate_quota_sustained_then_lifted(lab):
    """60 requests in any 2 s, of a client that would send more; later without a quota."""
    lab.job(2600)
    lab.faults(quota_per_minute=60, quota_window_s=2)
    process = lab.start()
    harness.wait_until(lambda: len(harness.getpixels(lab.emulator)) > 80, process)
    lab.faults(quota_per_minute=0)
    run = lab.end(process)
    assert run.status == 0, run
    lab.right(side=2600)
    assert run.retries["429 rate"] > 0
    assert run.report["tiles_failed"] == 0


METRIC = "Quota exceeded for quota metric 'EECU-seconds' and limit 'EECU-seconds per month'."
TILES_CUSTOM = "Your usage exceeded the custom quota for 'earthengine.googleapis.com/tiles'."


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"fault": "daily-429"}, "midnight Pacific time"),
        ({"fault": "daily-429", "status": 400}, "midnight Pacific time"),
        ({"fault": "monthly-429"}, "The month's allowance"),
        ({"fault": "concurrency-429", "message": METRIC}, "The month's allowance"),
        ({"fault": "daily-429", "message": TILES_CUSTOM}, "An administrator of the project set this quota"),
    ],
    ids=["daily", "daily under 400", "monthly", "by its metric", "custom"],
)
def test_row_3_compute_quota_exhausted(lab, fault, says):
    lab.job(1500)
    lab.faults({"skip": 10, **fault}, latency_ms=50)
    run = lab.run(status=4)
    assert "run the job again" in run.said or "the same command continues" in run.said
    assert says in run.said
    assert 0 < lab.stored_tiles_are_right(1500) == run.report["tiles_stored"]
    asked = len(harness.getpixels(lab.emulator))
    assert asked <= 9 + 8, "nothing more is asked than was under way"
    lab.heal(1500)
    assert lab.duplicates == 0, "all that had come was saved"


def test_row_4_server_errors(lab):
    lab.job(1500)
    lab.faults(
        {"fault": "internal-500", "skip": 1, "every": 5}, {"fault": "unavailable-503", "skip": 1, "every": 6}
    )
    run = lab.run()
    lab.right(side=1500)
    struck = lab.fault_counts()
    assert (run.retries["500"], run.retries["503"]) == (struck["internal-500"], struck["unavailable-503"])
    assert min(struck.values()) >= 4


def test_row_5_502_with_a_page(lab):
    """Tried again; where it lasts, what is recorded is short and readable."""
    lab.job(limits={"retries": 1})
    lab.faults({"fault": "html-502", "covers": [400, 400]}, {"fault": "html-502", "every": 4, "times": 2})
    run = lab.run(status=3)
    (failed,) = run.report["failed"]
    assert failed["cause"] == "502"
    assert "<" not in failed["message"]
    assert len(failed["message"]) < 200
    assert all(len(line) < 400 for line in run.said.splitlines())
    lab.heal()


def test_row_6_504_once(lab):
    lab.faults(*({"fault": "deadline-504", "covers": [at, at], "times": 1} for at in (400, 700)))
    run = lab.run()
    lab.right()
    assert run.retries["504"] > 0
    assert run.report["splits"] == 0


def test_row_6_504_always_for_big_requests(lab):
    wide(lab)
    big = {"above_pixels": 256 * 256 * 2}
    lab.faults({"fault": "deadline-504", "every": 2, **big}, {"fault": "html-504", **big})
    run = lab.run()
    lab.right(side=4096, bands=ONE)
    assert run.report["splits"] > 0
    assert run.report["tiles_failed"] == 0


def wide(lab):
    """A job whose requests are rectangles of 2 × 2 tiles, a shard each."""
    lab.job(4096, ONE, request={"tiles": 4}, limits={"concurrency": 4})


def test_row_7_total_request_size(lab):
    """Split, and learned: once a size was refused, requests of it are no longer sent."""
    wide(lab)
    lab.faults({"fault": "too-large-400", "above_pixels": 256 * 256, "limit": 300_000})
    run = lab.run()
    lab.right(side=4096, bands=ONE)
    assert run.report["splits"] > 0
    assert lab.fault_counts()["too-large-400"] <= 2 * 6, "those of the pool, at each size, and no more"


def test_row_8_memory_and_time_split(lab):
    wide(lab)
    more = {"above_pixels": 256 * 256}
    lab.faults({"fault": "memory-400", "every": 2, **more}, {"fault": "timeout-400", **more})
    run = lab.run()
    lab.right(side=4096, bands=ONE)
    assert run.report["splits"] > 0
    assert set(lab.fault_counts()) == {"memory-400", "timeout-400"}


def test_row_8_then_fewer_bands(lab):
    """One tile is still too much with two bands at once."""
    lab.faults({"fault": "memory-400", "above_bands": 1, "skip": 1})
    lab.run()
    lab.right()


def test_row_8_one_tile_and_one_band_is_recorded(lab):
    lab.faults({"fault": "memory-400", "covers": [400, 400], "band": "B3"})
    run = lab.run(status=3)
    (failed,) = run.report["failed"]
    assert (failed["row"], failed["column"], failed["bands"]) == (0, 0, ["B3"])
    assert failed["cause"] == "400 memory"
    assert "User memory limit exceeded" in failed["message"]
    assert lab.stored_tiles_are_right() == TILES - 1
    b2 = harness.band_arrays(lab.mosaic)["B2"][:256, :256]
    harness.same_bits(b2, harness.oracle_window(harness.QUICKSTART, "B2", 300, 300, 256, 256), "B2 is there")
    lab.heal()


def test_row_9_unknown_400_first_ends_the_job(lab):
    lab.faults({"fault": "bad-request-400", "message": "The moon is in the way."})
    run = lab.run(status=2)
    assert "The moon is in the way." in run.said
    assert lab.requests() == 1
    assert not lab.mosaic.exists()


def test_row_9_unknown_400_later_fails_its_tile(lab):
    lab.faults({"fault": "bad-request-400", "message": "The moon is in the way.", "covers": [700, 700]})
    run = lab.run(status=3)
    (failed,) = run.report["failed"]
    assert (failed["row"], failed["column"]) == (1, 1)
    assert "The moon is in the way." in failed["message"]
    assert run.retries.total() == 0
    assert lab.stored_tiles_are_right() == TILES - 1
    again = lab.run(status=3)
    assert again.report["requests"] == 1, "a rerun tries just that tile"
    lab.run("--allow-failed")
    lab.heal()


def test_row_9_bad_band_from_the_metadata(lab):
    lab.job(bands=("B2", "B99"))
    run = lab.run(status=2)
    assert "B99" in run.said
    assert lab.requests() == 0


@pytest.mark.parametrize("how", ["expired", "refused"])
def test_row_10_401_in_mid_job(lab, how):
    """Forty workers, one renewal."""
    lab.job(2000, limits={"concurrency": 40})
    if how == "expired":
        lab.faults({"fault": "expire-tokens", "skip": 20, "times": 1}, latency_ms=100)
    else:
        lab.faults({"fault": "unauthenticated-401", "skip": 20, "times": 1}, latency_ms=100)
    run = lab.run()
    lab.right(side=2000)
    assert lab.requests("token") == 2
    assert run.report["tiles_failed"] == 0


def test_row_11_401_again_after_the_refresh(lab):
    lab.job(1500)
    lab.faults({"fault": "unauthenticated-401", "skip": 12}, latency_ms=50)
    run = lab.run(status=6)
    assert "credentials were refused, also after a refresh" in run.said
    assert lab.requests("token") <= 8, "one a second at most"
    assert 0 < lab.stored_tiles_are_right(1500) == run.report["tiles_stored"]
    lab.heal(1500)


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        ("service-disabled-403", "Enable it by visiting"),
        ("user-project-denied-403", "roles/serviceusage.serviceUsageConsumer"),
        ("unregistered-403", "is not registered to use Earth Engine"),
        ("sdk-project-403", "Set service.project to a Cloud project of yours"),
        ("quota-project-403", "Set service.project to a Cloud project of yours"),
        ("not-signed-up-403", "Set service.project to a Cloud project of yours"),
    ],
)
def test_row_12_403_ends_the_job(lab, fault, remedy):
    """In mid-job or, for one of them, at the start."""
    lab.faults({"fault": fault, "skip": 0 if fault.startswith("unregistered") else 6}, latency_ms=50)
    run = lab.run(status=6)
    assert remedy in run.said, run
    assert len(harness.getpixels(lab.emulator)) <= 6 + 8


def test_row_12_403_page_of_the_front_end(lab):
    """The end after a few slow tries, which all requests share; the page asks for a second in place of half a minute."""
    lab.job(2000, limits={"concurrency": 30})
    lab.faults({"fault": "html-403", "skip": 6, "retry_after": 1}, latency_ms=50)
    run = lab.run(status=6)
    assert "Google's front end refuses this network address or a proxy stands between" in run.said
    struck = [r for r in harness.getpixels(lab.emulator) if r["fault"]]
    assert 3 <= len(struck) <= 30 + 3


@pytest.mark.parametrize(
    "faults",
    [
        [
            {"fault": "internal-500"},
            {"fault": "token-garbage"},
            {"fault": "stall-before-headers", "seconds": 1},
        ],
        [{"fault": "html-502"}, {"fault": "token-empty"}, {"fault": "reset-before-headers"}],
    ],
    ids=["500, garbage, slow", "502, empty, reset"],
)
def test_row_14_token_endpoint_recovers(lab, faults):
    lab.faults(*({**fault, "on": "token", "times": 1} for fault in faults))
    lab.run()
    lab.right()
    assert set(lab.fault_counts()) == {fault["fault"] for fault in faults}


@pytest.mark.parametrize("fault", ["internal-500", "token-garbage", "token-empty", "stall-before-headers"])
def test_row_14_token_endpoint_stays_broken(lab, fault):
    """Its waits are a few seconds here in place of a minute; the end is clear, and there is one."""
    lab.job(limits={"give_up_after": "2s"})
    lab.faults({"fault": fault, "on": "token"})
    run = lab.run(wrapped=["--patience", "0.5"], status=4)
    assert "emulator@p-test-1.iam.gserviceaccount.com" in run.said
    assert run.seconds < 30
    assert lab.requests() == 0


def test_row_14_token_endpoint_refuses_connections(lab):
    key = json.loads(lab.emulator.key_file.read_text()) | {"token_uri": "http://127.0.0.1:9/token"}
    (lab.folder / "key").mkdir()
    path = lab.folder / "key" / "key.json"
    path.write_text(json.dumps(key))
    lab.job(auth={"key_file": str(path)}, limits={"give_up_after": "2s"})
    process = lab.start(wrapped=["--patience", "0.5"])
    ended = harness.end(process)
    assert ended.status == 4, ended
    assert "127.0.0.1" in ended.err


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [("token-signature", "make a new key file"), ("token-clock", "Is this machine's clock right?")],
)
def test_row_14_the_key_is_refused(lab, fault, remedy):
    lab.faults({"fault": fault})
    run = lab.run(status=6)
    assert remedy in run.said
    assert lab.requests("token") <= 2, "a refusal for good is not tried again and again"


def test_row_14_token_cannot_be_renewed_in_mid_job(lab):
    """The endpoint fails when the token runs out: what came is saved, and the end is clear."""
    lab.job(1500, limits={"give_up_after": "2s"})
    lab.faults(
        {"fault": "expire-tokens", "skip": 12, "times": 1},
        {"fault": "internal-500", "on": "token", "skip": 1},
        latency_ms=100,
    )
    run = lab.run(wrapped=["--patience", "0.5"], status=4)
    assert lab.stored_tiles_are_right(1500) == run.report["tiles_stored"] > 0
    lab.heal(1500)


def test_row_15_restricted_parallelism(lab):
    lab.job(2000, limits={"concurrency": 20})
    lab.faults(restricted=True, latency_ms=150)
    run = lab.run()
    lab.right(side=2000)
    assert any("restricts this project's parallelism" in line for line in run.report["notices"])
    assert "going on with 10 requests at a time in place of 20" in run.said
    assert max(lab.emulator.control("state")["max_in_flight"].values()) <= 11


@pytest.mark.parametrize("form", ["retry_after", "retry_after_date"])
def test_row_16_retry_after(lab, form):
    """The answer asks for two seconds: nobody asks anything meanwhile."""
    lab.job(1500)
    lab.faults({"fault": "unavailable-503", "skip": 12, "times": 1, form: 3}, latency_ms=100)
    lab.run()
    lab.right(side=1500)
    records = harness.getpixels(lab.emulator)
    (struck,) = [r for r in records if r["fault"]]
    said_at = struck["at_s"] + 0.1
    early = [r for r in records if said_at + 0.15 < r["at_s"] < said_at + 1.8]
    assert early == [], "a date has whole seconds: 3 s may be 2"


def test_row_17_image_changed_between_runs(lab):
    lab.faults({"fault": "bad-request-400", "covers": [400, 400]})
    lab.run(status=3)
    before = harness.snapshot(lab.mosaic)
    lab.faults(assets={ASSET: {"updateTime": "2026-01-01T00:00:00Z"}})
    run = lab.run(status=5)
    assert "updateTime" in run.said or "2026-01-01" in run.said
    after = harness.snapshot(lab.mosaic)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed <= {".downloader/lock"}


def test_row_59_metadata_and_answer_disagree_on_the_type(lab):
    """The canary finds it: what is answered counts, and is said."""
    lab.faults({"fault": "npy-dtype"})
    run = lab.run()
    assert any("comes as uint32, not as uint16" in line for line in run.report["notices"]), run
    for array in harness.band_arrays(lab.mosaic).values():
        assert array.dtype == "uint32"
    wanted = harness.oracle_window(harness.QUICKSTART, "B2", 300, 300, 700, 700)
    assert (zarr.open_array(str(lab.mosaic / "B2"), mode="r")[:] == wanted).all()


def test_row_59_metadata_and_answer_disagree_on_the_names(lab):
    lab.faults({"fault": "npy-fields-missing"})
    run = lab.run(status=2)
    assert "asked for the bands B2, B3, the service answers B2" in run.said
    assert not lab.mosaic.exists()
    assert TWO == ("B2", "B3")


def test_row_68_nothing_left_but_tiles_that_always_fail(lab):
    """Sixteen in a row look like an outage; one pixel that was answered before tells that it is none."""
    lab.job(1024, bands=ONE, limits={"retries": 2, "give_up_after": "60s"})
    lab.faults({"fault": "internal-500", "above_pixels": 1})
    run = lab.run(status=3)
    assert run.report["tiles_failed"] == 16
    assert run.causes() == {"500"}
    assert "no pixels for" not in run.said
    lab.heal(side=1024, bands=ONE)
