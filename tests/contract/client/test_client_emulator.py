"""The real client against the emulator in its own process: the whole service-account road, pixels, faults, quotas."""

import asyncio

import numpy as np
import pytest

from downloader.earthengine.auth.find import AuthSettings
from downloader.earthengine.band_types import answered_types
from downloader.earthengine.catalogue import EarthEngineCatalogue
from downloader.earthengine.client import Access, EarthEngine
from downloader.earthengine.pixels import RestPixelSource
from downloader.earthengine.timeouts import Timeouts
from downloader.errors import Action, AuthenticationError, JobError, StoppedError, TileError
from downloader.model.grid import Window
from downloader.planning import BandType, PixelRequest
from tests.contract.client.conftest import QUICK, S2, HastyClock
from tests.oracle import QUICKSTART, oracle_window

TEN = ("B2", "B3", "B4", "B8")
CORNER = Window(0, 0, 256, 256)


@pytest.fixture(autouse=True)
def clean(emulator, monkeypatch):
    for name in ("EE_PROJECT_ID", "EE_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    emulator.control("reset", {})
    yield
    emulator.control("reset", {})


def client_for(emulator, **options):
    options = {"auth": AuthSettings("key_file", emulator.key_file), **options}
    clock, timeouts = options.pop("clock", HastyClock()), options.pop("timeouts", QUICK)
    access = Access(standard=emulator.url, high_volume=emulator.high_volume_url, **options)
    client = EarthEngine(access, clock)
    client.timeouts = timeouts
    return client


@pytest.fixture
async def client(emulator):
    # Generous: on a busy machine an honest answer may take its time.
    async with client_for(emulator, timeouts=Timeouts(first_byte_s=20)) as made:
        yield made


def windowed(image, bands, window):
    chosen = image.select(bands)
    return PixelRequest(
        image.name, chosen[0].grid.window(window), tuple(BandType(b.id, b.dtype) for b in chosen)
    )


async def scene(client, window=CORNER, bands=TEN):
    return windowed(await EarthEngineCatalogue(client).image(S2), bands, window)


def right(pixels, request, window):
    return all(
        np.array_equal(
            pixels[band.id],
            oracle_window(QUICKSTART, band.id, window.column, window.row, window.width, window.height),
        )
        for band in request.bands
    )


def counts(emulator):
    return emulator.control("state")["requests"]


async def test_the_service_account_road_from_key_to_pixels(emulator, client):
    window = Window(10_700, 10_724, 256, 256)
    request = await scene(client, window)
    assert right(await RestPixelSource(client).fetch(request), request, window)
    assert client.credentials_in_use.startswith("service account ")
    assert client.credentials_in_use.endswith("(key file key.json)")
    assert client.project == "p-test-1"
    assert client.service_identity.startswith("emulator ")
    assert counts(emulator) == {"token": 1, "assets.get": 1, "assets.getPixels": 1}


async def test_metadata_goes_to_the_standard_host_and_pixels_to_the_other(emulator, client):
    await RestPixelSource(client).fetch(await scene(client))
    seen = {r["method"]: r for r in emulator.control("requests?since=0")["requests"]}
    assert seen["assets.get"]["host"] == "standard"
    assert seen["assets.getPixels"]["host"] == "high-volume"
    assert seen["assets.getPixels"]["headers"]["x-goog-user-project"] == "p-test-1"


async def test_forty_workers_get_forty_different_answers(emulator, client):
    first = await scene(client)
    image = await EarthEngineCatalogue(client).image(S2)
    windows = [Window(256 * (k % 8), 256 * (k // 8), 256, 256) for k in range(40)]
    source = RestPixelSource(client)
    answers = await asyncio.gather(*(source.fetch(windowed(image, TEN, window)) for window in windows))
    assert all(right(pixels, first, window) for pixels, window in zip(answers, windows, strict=True))
    assert counts(emulator)["token"] == 1


async def test_a_token_that_expires_in_mid_run_is_renewed_once_for_all(emulator, client):
    request = await scene(client)
    source = RestPixelSource(client)
    await source.fetch(request)
    emulator.control("expire", {})
    answers = await asyncio.gather(*(client.persist(lambda: source.fetch(request)) for _ in range(40)))
    assert all(right(pixels, request, CORNER) for pixels in answers)
    assert counts(emulator)["token"] == 2


async def test_tokens_that_live_for_seconds_are_renewed_before_they_end(emulator, client):
    emulator.control("configure", {"token_life_s": 2})
    request = await scene(client)
    source = RestPixelSource(client)
    for _ in range(25):
        await source.fetch(request)
        await asyncio.sleep(0.1)
    state = emulator.control("state")
    assert "401" not in state["statuses"]
    assert 2 <= state["requests"]["token"] <= 5


async def test_refused_with_every_renewed_token_is_final(emulator, client):
    """After three tries at least 2 s apart."""
    request, source = await scene(client), RestPixelSource(client)
    emulator.control("configure", {"faults": [{"fault": "unauthenticated-401"}]})
    began = client._clock.now()
    with pytest.raises(AuthenticationError, match="also after a refresh"):
        await client.persist(lambda: source.fetch(request))
    assert client._clock.now() - began >= 4
    assert counts(emulator)["token"] == 4
    assert counts(emulator)["assets.getPixels"] == 4


async def test_a_401_now_and_then_is_the_fault_of_its_answer(emulator, client):
    """One request is refused twice while others are answered: nothing ends."""
    request, source = await scene(client), RestPixelSource(client)
    for _ in range(3):
        emulator.control("configure", {"faults": [{"fault": "unauthenticated-401", "times": 2}]})
        answers = await asyncio.gather(*(client.persist(lambda: source.fetch(request)) for _ in range(6)))
        assert all(right(pixels, request, CORNER) for pixels in answers)
    assert counts(emulator)["token"] <= 5


@pytest.mark.parametrize(
    ("fault", "match", "ends"),
    [
        ("token-signature", "make a new key file", AuthenticationError),
        ("token-clock", "clock", AuthenticationError),
        ("token-garbage", "makes no sense.*gave up", StoppedError),
        ("token-empty", "gave up", StoppedError),
        ("internal-500", "answers 500.*gave up", StoppedError),
    ],
)
async def test_no_token_is_a_clear_end(emulator, fault, match, ends):
    """A refusal is the user's to mend; an endpoint that is down is an outage, and the same command continues."""
    emulator.control("configure", {"faults": [{"fault": fault, "on": "token"}]})
    async with client_for(emulator, timeouts=Timeouts(), patience_s=0.1) as client:
        with pytest.raises(ends, match=match) as caught:
            await EarthEngineCatalogue(client).document(S2)
    assert "PRIVATE KEY" not in str(caught.value)


async def test_a_token_endpoint_that_recovers_is_no_trouble(emulator, client):
    emulator.control("configure", {"faults": [{"fault": "unavailable-503", "on": "token", "times": 2}]})
    await scene(client)
    assert counts(emulator)["token"] == 3


async def test_a_token_endpoint_that_is_down_in_mid_run_is_an_outage_not_an_end(emulator, client):
    request = await scene(client)
    emulator.control("expire", {})
    emulator.control("configure", {"faults": [{"fault": "unavailable-503", "on": "token"}]})
    with pytest.raises(TileError) as caught:
        await RestPixelSource(client).fetch(request)
    assert caught.value.problem.cause == "401 renewed"
    with pytest.raises(TileError) as caught:
        await RestPixelSource(client).fetch(request)
    assert (caught.value.problem.action, caught.value.problem.cause) == (Action.RETRY, "no token")
    emulator.control("configure", {"faults": []})
    await client._clock.sleep(1)
    assert right(await RestPixelSource(client).fetch(request), request, CORNER)


@pytest.mark.parametrize(
    ("project", "match"),
    [
        ("p-disabled", "has not been used in project"),
        ("p-denied", "required permission to use project"),
        ("p-unregistered", "not registered"),
        ("p-deleted", "not found or deleted"),
    ],
)
async def test_a_project_that_may_not_ends_at_once_with_the_remedy(emulator, project, match):
    async with client_for(emulator, timeouts=Timeouts(), project=project) as client:
        with pytest.raises(AuthenticationError, match=match):
            await EarthEngineCatalogue(client).document(S2)
    assert counts(emulator)["assets.get"] == 1


async def test_without_credentials_the_way_in_is_named(emulator):
    async with client_for(emulator, timeouts=Timeouts(), auth=AuthSettings("none")) as client:
        with pytest.raises(AuthenticationError, match="key_file"):
            await EarthEngineCatalogue(client).document(S2)


@pytest.mark.parametrize(
    ("asset", "error", "match"),
    [
        ("COPERNICUS/S2", JobError, "image collection"),
        ("LANDSAT", JobError, "folder"),
        ("NOPE", JobError, "does not exist"),
        ("projects/p-private-1/assets/secret", AuthenticationError, "denied"),
    ],
)
async def test_what_is_no_readable_image(client, asset, error, match):
    with pytest.raises(error, match=match):
        await EarthEngineCatalogue(client).image(asset)


async def test_the_document_is_the_services_own(emulator, client):
    document = await EarthEngineCatalogue(client).document(S2)
    assert document["type"] == "IMAGE"
    assert isinstance(document["sizeBytes"], str)
    assert len(document["bands"]) == 16


async def test_every_image_of_the_catalogue_settles_as_its_metadata_says(client):
    catalogue = EarthEngineCatalogue(client)
    document = await client.call("GET", "projects/earthengine-public/assets/EMULATOR:listAssets")
    images = [asset["id"] for asset in document["assets"] if asset["type"] == "IMAGE"]
    assert len(images) >= 5
    for name in [*images, S2]:
        image = await catalogue.image(name)
        found = await with_types(client, image)
        assert (found.image is image, found.notices) == (True, ()), name


def resolved(image):
    """The image as a job's source, and the job: all of it."""
    from downloader.job import Job
    from downloader.planning.series import series_of_one
    from downloader.resolve.resolved import ResolvedSource

    job = Job.from_dict({"source": {"asset": image.id}, "mosaic": {"path": "m"}})
    return ResolvedSource(image, series=series_of_one(job, image)), job


async def with_types(client, image):
    """The source with the types that the service answers."""
    source, job = resolved(image)
    return source.with_types(await answered_types(RestPixelSource(client), source.type_questions(job)))


async def test_a_crs_that_the_service_refuses_ends_before_a_plan(client):
    from dataclasses import replace

    from downloader.model.crs import Crs

    image = await EarthEngineCatalogue(client).image(S2)
    source, job = resolved(image)
    ((name, request), *_), *_ = source.type_questions(job)
    odd = replace(request, grid=replace(request.grid, crs=Crs(code="EPSG:999999")))
    with pytest.raises(JobError, match="EPSG:999999"):
        await answered_types(RestPixelSource(client), [[(name, odd)]])


async def test_other_types_than_expected_win_over_the_catalogue(emulator, client):
    image = await EarthEngineCatalogue(client).image(S2)
    emulator.control("configure", {"faults": [{"fault": "npy-dtype"}]})
    found = await with_types(client, image)
    assert len(found.notices) == 16
    assert {band.dtype.str for band in found.image.bands} == {"<u4", "<f8"}


@pytest.mark.parametrize("fault", ["npy-fields-missing", "npy-fields-extra"])
async def test_other_bands_than_asked_for_end_the_job(emulator, client, fault):
    image = await EarthEngineCatalogue(client).image(S2)
    emulator.control("configure", {"faults": [{"fault": fault}]})
    with pytest.raises(JobError, match="the service answers"):
        await with_types(client, image)


async def test_types_are_asked_again_when_that_may_help(emulator, client):
    image = await EarthEngineCatalogue(client).image(S2)
    faults = [{"fault": name, "times": 1} for name in ("html-502", "npy-truncated", "concurrency-429")]
    emulator.control("configure", {"faults": faults})
    assert (await with_types(client, image)).image is image


R, SLOW, SPLIT, TILE, JOB, ASSET = (
    Action.RETRY, Action.SLOW, Action.SPLIT, Action.FAIL_TILE, Action.FAIL_JOB, Action.FAIL_ASSET
)  # fmt: skip
FAULTS = {
    "concurrency-429": (SLOW, "429 concurrency"),
    "rate-429": (SLOW, "429 rate"),
    "daily-429": (JOB, "daily quota"),
    "rate-403": (SLOW, "403 rate"),
    "internal-500": (R, "500"),
    "unavailable-503": (R, "503"),
    "html-502": (R, "502"),
    "html-503": (R, "503"),
    "deadline-504": (R, "504"),
    "html-504": (R, "504"),
    "too-large-400": (SPLIT, "400 request size"),
    "memory-400": (SPLIT, "400 memory"),
    "timeout-400": (SPLIT, "400 timed out"),
    "bad-request-400": (TILE, "400"),
    "service-disabled-403": (JOB, "403 service disabled"),
    "user-project-denied-403": (JOB, "403 user project denied"),
    "unregistered-403": (JOB, "403 project not registered"),
    "html-403": (SLOW, "403 front end"),
    "permission-403": (ASSET, "403 asset"),
    "not-found-404": (ASSET, "asset not found"),
    "redirect": (R, "redirect"),
    "reset-before-headers": (R, "reset"),
    "reset-in-headers": (R, "reset"),
    "reset-after-headers": (R, "short body"),
    "reset-in-body": (R, "short body"),
    "short-body": (R, "short body"),
    "cut-chunked": (R, "short body"),
    "stall-before-headers": (R, "no first byte"),
    "stall-after-headers": (R, "stalled"),
    "stall-in-body": (R, "stalled"),
    "drip": (R, "stalled"),
    "gzip-bomb": (R, "too large"),
    "oversized": (R, "too large"),
    "json-200": (R, "JSON under 200"),
    "html-200": (R, "HTML under 200"),
    "empty-200": (R, "bad NPY"),
    "npy-truncated": (R, "bad NPY"),
    "npy-trailing": (R, "bad NPY"),
    "npy-magic": (R, "bad NPY"),
    "npy-version": (R, "bad NPY"),
    "npy-header-garbage": (R, "bad NPY"),
    "npy-shape": (R, "bad NPY"),
    "npy-transposed": (R, "bad NPY"),
    "npy-fields-missing": (R, "bad NPY"),
    "npy-fields-extra": (R, "bad NPY"),
    "npy-dtype": (R, "bad NPY"),
    "npy-fortran": (R, "bad NPY"),
    "npy-plain": (R, "bad NPY"),
    "npy-object": (R, "bad NPY"),
    # Answers that are odd and right all the same.
    "expire-tokens": (R, "401 renewed"),
    "restricted": None,
    "close-after": None,
    "chunked": None,
    "gzip": None,
    "npy-huge-header": None,
    "npy-fields-order": None,
    "npy-big-endian": None,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_of_the_service(emulator, fault, tmp_path):
    window = Window(5, 7, 100, 60)
    waits = fault.startswith("stall") or fault == "drip"
    async with client_for(emulator, timeouts=QUICK if waits else Timeouts(first_byte_s=20)) as client:
        request = await scene(client, window)
        spec = {"fault": fault, "times": 1 if fault == "expire-tokens" else 3}
        if fault == "npy-object":
            spec["path"] = str(tmp_path / "unpickled")
        emulator.control("configure", {"faults": [spec]})
        source = RestPixelSource(client)
        if FAULTS[fault] is None:
            assert right(await source.fetch(request), request, window)
        else:
            with pytest.raises(TileError) as caught:
                await source.fetch(request)
            found = caught.value.problem
            assert (found.action, found.cause) == FAULTS[fault]
            assert found.message.isprintable()
        assert fault in {r["fault"] for r in emulator.control("requests?since=0")["requests"]}
        assert not (tmp_path / "unpickled").exists()
        emulator.control("configure", {"faults": []})
        assert right(await source.fetch(request), request, window)


@pytest.mark.parametrize(
    ("spec", "low", "high"), [({"retry_after": 7}, 7, 7), ({"retry_after_date": 20}, 18, 20)]
)
async def test_retry_after_reaches_whoever_waits(emulator, client, spec, low, high):
    request = await scene(client)
    emulator.control("configure", {"faults": [{"fault": "concurrency-429", **spec}]})
    with pytest.raises(TileError) as caught:
        await RestPixelSource(client).fetch(request)
    assert low <= caught.value.problem.retry_after_s <= high


async def test_metadata_outlasts_an_outage_and_then_gives_up(emulator, client):
    faults = [{"fault": "unavailable-503", "on": "asset", "times": 3}]
    emulator.control("configure", {"faults": faults})
    await EarthEngineCatalogue(client).image(S2)
    emulator.control("configure", {"faults": [{"fault": "html-502", "on": "asset"}]})
    with pytest.raises(StoppedError, match="502"):
        await EarthEngineCatalogue(client).image(S2)


async def test_quotas_are_told_apart(emulator):
    emulator.control(
        "configure",
        {"latency_ms": 100, "quota_projects": {"p-limited": {"concurrency": 2, "per_minute": 60}}},
    )
    async with client_for(emulator, project="p-limited", timeouts=Timeouts()) as client:
        request = await scene(client)
        source = RestPixelSource(client)
        results = await asyncio.gather(*(source.fetch(request) for _ in range(6)), return_exceptions=True)
        problems = [r.problem for r in results if isinstance(r, TileError)]
        assert len(problems) == 4
        assert {p.limit for p in problems} == {"concurrency"}
        emulator.control(
            "configure",
            {"latency_ms": 0, "quota_projects": {"p-limited": {"concurrency": 9, "per_minute": 1}}},
        )
        with pytest.raises(TileError) as caught:
            await source.fetch(request)
        assert (caught.value.problem.action, caught.value.problem.limit) == (Action.SLOW, "rate")


async def test_a_restricted_project_is_told(emulator):
    async with client_for(emulator, project="p-restricted", timeouts=Timeouts()) as client:
        await scene(client)
        assert client.restricted


async def test_nothing_secret_is_in_any_repr(emulator, client):
    request = await scene(client)
    token = await client._tokens.token()
    assert token not in f"{client!r}{client._tokens!r}{client._access!r}{request!r}{vars(client)!r}"
