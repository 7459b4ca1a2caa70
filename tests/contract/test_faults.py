"""Every fault that can be switched on, seen from a plain socket (tests/contract/acceptance.md, rows 92 to 98; docs/faults.md)."""

from __future__ import annotations

import email.utils
import gzip
import http.client
import io
import json
import socket
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest

from tests.contract.conftest import detail, error_of, grid, load
from tests.contract.graphs import compute, graph, image
from tests.oracle import PUBLIC, QUICKSTART

PATH = f"/v1/{QUICKSTART}:getPixels"
TILE = {"fileFormat": "NPY", "bandIds": ["B2", "B3"], "grid": grid(3, 4, 32, 24)}
GOOD = 32 * 24 * 4 + 128
CUSTOM_QUOTA = "Your usage exceeded the custom quota for 'earthengine.googleapis.com"


@pytest.fixture
def strike(emulator):
    """Switch on faults."""

    def switch(*faults, **settings):
        emulator.control("configure", {"faults": list(faults), **settings})

    return switch


def ask(api, body=TILE):
    return api.post(PATH, body)


@pytest.fixture(scope="module")
def good(emulator):
    headers = {"Authorization": "Bearer tok"}
    return httpx.post(emulator.url + PATH, json=TILE, headers=headers, trust_env=False).content


@pytest.mark.parametrize(
    ("fault", "code", "status", "message"),
    [
        ("concurrency-429", 429, "RESOURCE_EXHAUSTED", "Too Many Requests: Request was rejected"),
        ("rate-429", 429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Number of read requests'"),
        (
            "daily-429",
            429,
            "RESOURCE_EXHAUSTED",
            f"{CUSTOM_QUOTA}/daily_eecu_usage_time', which is adjustable",
        ),
        ("monthly-429", 429, "RESOURCE_EXHAUSTED", f"{CUSTOM_QUOTA}/monthly_eecu_usage_time', which"),
        ("aggregations-429", 429, "RESOURCE_EXHAUSTED", "Too many concurrent aggregations."),
        ("rate-403", 403, "PERMISSION_DENIED", "Rate Limit Exceeded"),
        ("internal-500", 500, "INTERNAL", "An internal error has occurred (request: "),
        ("unavailable-503", 503, "UNAVAILABLE", "The service is currently unavailable."),
        ("deadline-504", 504, "DEADLINE_EXCEEDED", "Deadline exceeded."),
        ("too-large-400", 400, "INVALID_ARGUMENT", "Total request size ("),
        ("memory-400", 400, "INVALID_ARGUMENT", "User memory limit exceeded."),
        ("timeout-400", 400, "INVALID_ARGUMENT", "Computation timed out."),
        (
            "output-too-large-400",
            400,
            "INVALID_ARGUMENT",
            "Output of image computation is too large (2 bands for 768 pixels = 0.0 MiB > 0.0 MiB).\nIf this is a reduction",
        ),
        (
            "reprojection-too-large-400",
            400,
            "INVALID_ARGUMENT",
            "Reprojection output too large (10017x10017 pixels).",
        ),
        (
            "reproject-exceeds-400",
            400,
            "INVALID_ARGUMENT",
            "Number of pixels requested from Image.reproject exceeds the maximum allowed (2^31).",
        ),
        ("memory-capacity-503", 503, "UNAVAILABLE", "Earth Engine memory capacity exceeded."),
        (
            "no-bands-400",
            400,
            "INVALID_ARGUMENT",
            "Image.select: Band pattern 'B2' was applied to an Image with no bands.",
        ),
        ("load-not-found-400", 400, "INVALID_ARGUMENT", f"Image.load: Image asset '{QUICKSTART}' not found."),
        ("bad-request-400", 400, "INVALID_ARGUMENT", ""),
        ("unauthenticated-401", 401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
        ("service-disabled-403", 403, "PERMISSION_DENIED", "Google Earth Engine API has not been used"),
        (
            "sdk-project-403",
            403,
            "PERMISSION_DENIED",
            "Google Earth Engine API has not been used in project 522309567947 ",
        ),
        (
            "quota-project-403",
            403,
            "PERMISSION_DENIED",
            "Your application is authenticating by using local Application",
        ),
        (
            "not-signed-up-403",
            403,
            "PERMISSION_DENIED",
            "Not signed up for Earth Engine or project is not registered.",
        ),
        ("user-project-denied-403", 403, "PERMISSION_DENIED", "Caller does not have required permission"),
        ("unregistered-403", 403, "PERMISSION_DENIED", "Project p-test-1 is not registered"),
        ("permission-403", 403, "PERMISSION_DENIED", "Permission 'earthengine.assets.get' denied"),
        ("not-found-404", 404, "NOT_FOUND", f"Asset '{QUICKSTART}' does not exist"),
    ],
)
def test_errors_in_json(api, strike, fault, code, status, message):
    strike({"fault": fault, "times": 1})
    assert error_of(ask(api), code, status)["message"].startswith(message)
    assert ask(api).status_code == 200


def test_a_fault_may_have_another_status(api, strike):
    strike({"fault": "memory-capacity-503", "status": 400})
    error = error_of(ask(api), 400, "INVALID_ARGUMENT")
    assert error["message"] == "Earth Engine memory capacity exceeded."


def test_a_computed_request_hangs(api, strike):
    """No first byte for a while, and then a 500; requests of stored pixels are left alone."""
    strike({"fault": "hang", "seconds": 0.4})
    assert ask(api).status_code == 200
    started = time.monotonic()
    answer = compute(api, graph(image()))
    assert time.monotonic() - started >= 0.4
    assert error_of(answer, 500, "INTERNAL")["message"].startswith("An internal error has occurred")


def test_old_style_rate_error_has_its_reason(api, strike):
    strike({"fault": "rate-403"})
    assert ask(api).json()["error"]["errors"][0]["reason"] == "rateLimitExceeded"


@pytest.mark.parametrize("fault", ["html-403", "html-502", "html-503", "html-504"])
def test_errors_in_html(api, strike, fault):
    strike({"fault": fault})
    answer = ask(api)
    assert answer.status_code == int(fault[-3:])
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_row_092_next_n_requests(api, strike, emulator):
    strike({"fault": "html-503", "times": 3})
    assert [ask(api).status_code for _ in range(5)] == [503, 503, 503, 200, 200]
    assert emulator.control("state")["faults"] == {"html-503": 3}


def test_row_093_memory_for_large_tiles(api, strike):
    strike({"fault": "memory-400", "above_pixels": 1024})
    assert ask(api, {**TILE, "grid": grid(width=32, height=32)}).status_code == 200
    error = error_of(ask(api, {**TILE, "grid": grid(width=33, height=32)}), 400, "INVALID_ARGUMENT")
    assert error["message"] == "User memory limit exceeded."


def test_row_094_timed_out_once(api, strike):
    strike({"fault": "timeout-400", "times": 1})
    assert error_of(ask(api), 400, "INVALID_ARGUMENT")["message"] == "Computation timed out."
    assert ask(api).status_code == 200


@pytest.mark.parametrize("fault", ["short-body", "reset-in-body", "cut-chunked"])
def test_row_095_body_is_cut(api, strike, fault):
    strike({"fault": fault, "times": 1, "fraction": 0.25})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ask(api)
    assert ask(api).status_code == 200


@pytest.mark.parametrize("fault", ["html-200", "json-200", "empty-200"])
def test_row_096_no_pixels_under_200(api, strike, fault):
    strike({"fault": fault})
    answer = ask(api)
    assert answer.status_code == 200
    assert not answer.content.startswith(b"\x93NUMPY")


def test_row_097_retry_after(api, strike):
    strike({"fault": "concurrency-429", "retry_after": 7})
    assert ask(api).headers["retry-after"] == "7"
    strike({"fault": "unavailable-503", "retry_after_date": 60})
    when = email.utils.parsedate_to_datetime(ask(api).headers["retry-after"])
    assert 50 < (when - datetime.now(UTC)).total_seconds() <= 60


def test_row_098_tokens_expire_in_mid_run(api, strike, emulator):
    token = emulator.control("tokens", {"project": "p-test-1"})["access_token"]
    own = {"Authorization": f"Bearer {token}"}
    strike({"fault": "expire-tokens", "times": 1, "skip": 1})
    assert api.post(PATH, TILE, **own).status_code == 200
    for _ in range(2):
        error = error_of(api.post(PATH, TILE, **own), 401, "UNAUTHENTICATED")
        assert detail(error)["reason"] == "ACCESS_TOKEN_EXPIRED"
    fresh = emulator.control("tokens", {"project": "p-test-1"})["access_token"]
    assert api.post(PATH, TILE, Authorization=f"Bearer {fresh}").status_code == 200


def test_restricted_and_redirect(api, strike):
    strike({"fault": "restricted"})
    assert ask(api).headers["x-earth-engine-quota-status"] == "parallelism_restricted=true"
    strike({"fault": "redirect", "location": "http://127.0.0.2:9/x"})
    assert (ask(api).status_code, ask(api).headers["location"]) == (302, "http://127.0.0.2:9/x")


@pytest.mark.parametrize(
    ("fault", "status", "body"),
    [
        ("token-garbage", 200, "<!DOCTYPE html>"),
        ("token-empty", 200, "{}"),
        (
            "token-signature",
            400,
            '{\n  "error": "invalid_grant",\n  "error_description": "Invalid JWT Signature."',
        ),
        ("token-clock", 400, '{\n  "error": "invalid_grant"'),
    ],
)
def test_the_token_endpoint_can_fail(api, strike, fault, status, body):
    form = {"grant_type": "refresh_token", "refresh_token": "emulator-refresh-token"}
    strike({"fault": fault})
    answer = api.client.post("/token", data=form)
    assert answer.status_code == status
    assert answer.text.startswith(body)
    strike({"fault": "unavailable-503", "on": "token"})
    assert api.client.post("/token", data=form).status_code == 503
    assert ask(api).status_code == 200


@pytest.mark.parametrize("fault", ["reset-before-headers", "reset-in-headers", "reset-after-headers"])
def test_resets(api, strike, fault):
    strike({"fault": fault, "times": 1})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ask(api)
    assert ask(api).status_code == 200


def test_connections_are_refused_for_a_while(api, strike, emulator):
    strike({"fault": "refuse", "times": 1, "seconds": 0.3})
    begun = time.monotonic()
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        ask(api)
    refused = 0
    while True:
        try:
            assert ask(api).status_code == 200
            break
        except httpx.TransportError:
            refused += 1
            time.sleep(0.01)
    assert refused
    assert 0.3 <= time.monotonic() - begun < 5
    emulator.control("outage", {"seconds": 2})
    time.sleep(0.5)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{emulator.url}/v1/x", trust_env=False)
    time.sleep(1.7)
    assert ask(api).status_code == 200


@pytest.mark.parametrize("fault", ["stall-before-headers", "stall-after-headers", "stall-in-body"])
def test_stalls(api, strike, fault, good):
    strike({"fault": fault, "times": 1, "seconds": 0.3})
    begun = time.monotonic()
    assert ask(api).content == good
    assert time.monotonic() - begun >= 0.3
    strike({"fault": fault, "times": 1})
    with pytest.raises(httpx.ReadTimeout):
        api.client.post(PATH, json=TILE, headers=api.headers, timeout=0.2)


def test_drip(api, strike):
    small = {**TILE, "grid": grid(width=1, height=1)}
    whole = ask(api, small).content
    strike({"fault": "drip", "times": 1, "seconds_per_byte": 0.0001})
    assert ask(api, small).content == whole
    strike({"fault": "drip", "times": 1})
    with api.client.stream("POST", PATH, json=TILE, headers=api.headers, timeout=0.5) as answer:
        arriving = answer.iter_raw(1)
        assert len(next(arriving)) == 1
        with pytest.raises(httpx.ReadTimeout):
            next(arriving)


def test_keep_alive_ends_unannounced(strike, emulator):
    strike({"fault": "close-after", "times": 1})
    connection = http.client.HTTPConnection("127.0.0.1", int(emulator.url.rpartition(":")[2]), timeout=10)
    headers = {"Authorization": "Bearer tok"}
    connection.request("POST", PATH, json.dumps(TILE), headers)
    answer = connection.getresponse()
    assert len(answer.read()) == GOOD
    assert answer.getheader("connection") is None
    time.sleep(0.05)

    def again():
        connection.request("POST", PATH, json.dumps(TILE), headers)
        connection.getresponse()

    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
        again()
    connection.close()


def test_codings_and_sizes(api, strike, good):
    strike({"fault": "chunked"})
    answer = ask(api)
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.content == good
    strike({"fault": "gzip"})
    answer = api.post(PATH, TILE, Accept_Encoding="identity")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == good
    strike({"fault": "oversized", "megabytes": 3})
    assert len(ask(api).content) == GOOD + (3 << 20)


def test_a_small_body_that_inflates_without_end(api, strike):
    strike({"fault": "gzip-bomb", "megabytes": 40})
    with api.client.stream("POST", PATH, json=TILE, headers=api.headers) as answer:
        packed = b"".join(answer.iter_raw())
    assert len(packed) < 200_000
    assert len(gzip.decompress(packed)) == GOOD + (40 << 20)


DAMAGED = {
    "npy-truncated": {"fraction": 0.5},
    "npy-trailing": {"bytes": 64},
    "npy-magic": {},
    "npy-header-garbage": {},
    "npy-shape": {},
    "npy-transposed": {},
    "npy-fields-missing": {},
    "npy-fields-extra": {},
    "npy-fields-order": {},
    "npy-dtype": {},
    "npy-fortran": {},
    "npy-big-endian": {},
    "npy-plain": {},
    "npy-version": {"major": 3},
    "npy-huge-header": {},
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_damaged_arrays(api, strike, fault, good):
    strike({"fault": fault, **DAMAGED[fault]})
    answer = ask(api)
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content != good
    truth = load(good)
    if fault in ("npy-truncated", "npy-magic", "npy-header-garbage"):
        with pytest.raises(ValueError):  # noqa: PT011 - numpy words it differently each time
            load(answer.content)
        return
    found = load(answer.content)
    same_data = {
        "npy-trailing",
        "npy-version",
        "npy-huge-header",
        "npy-fortran",
        "npy-big-endian",
        "npy-fields-order",
    }
    if fault in same_data:
        for band in truth.dtype.names:
            np.testing.assert_array_equal(found[band], truth[band])
    assert (found.shape == truth.shape) == (fault not in ("npy-shape", "npy-transposed"))
    assert (found.dtype == truth.dtype) == (
        fault
        in {"npy-trailing", "npy-version", "npy-huge-header", "npy-fortran", "npy-shape", "npy-transposed"}
    )


def test_pickles(api, strike, tmp_path):
    marker = tmp_path / "unpickled"
    strike({"fault": "npy-object", "path": str(marker)})
    body = ask(api).content
    with pytest.raises(ValueError, match="allow_pickle"):
        load(body)
    assert not marker.exists()
    np.load(io.BytesIO(body), allow_pickle=True)
    assert marker.exists()


def test_faults_strike_by_place_band_asset_and_count(api, strike):
    strike({"fault": "internal-500", "covers": [10, 10]})
    assert [ask(api, {**TILE, "grid": grid(c, 0, 16, 16)}).status_code for c in (0, 16)] == [500, 200]
    strike({"fault": "internal-500", "band": "B8"})
    assert [ask(api, {**TILE, "bandIds": [b]}).status_code for b in ("B8", "B2")] == [500, 200]
    strike({"fault": "internal-500", "asset": "*T10SEG", "on": "asset"})
    assert api.get(f"/v1/{QUICKSTART}").status_code == 500
    assert api.get(f"/v1/{PUBLIC}LANDSAT").status_code == 200
    strike({"fault": "internal-500", "above_bands": 1})
    assert [ask(api, {**TILE, "bandIds": b}).status_code for b in (["B2"], ["B2", "B3"])] == [200, 500]
    strike({"fault": "internal-500", "skip": 1, "every": 2})
    assert [ask(api).status_code for _ in range(5)] == [200, 500, 200, 500, 200]
    strike({"fault": "internal-500", "on": "any", "times": 2}, {"fault": "html-502", "times": 1})
    assert [ask(api).status_code for _ in range(4)] == [500, 500, 502, 200]


def test_chance_is_seeded(api, strike):
    runs = []
    for seed in (1, 1, 2):
        strike({"fault": "internal-500", "probability": 0.5}, seed=seed)
        runs.append([ask(api).status_code for _ in range(20)])
    assert runs[0] == runs[1] != runs[2]
    assert set(runs[0]) == {200, 500}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"fault": "nothing"}, "unknown fault 'nothing'"),
        ({"fault": "drip", "speed": 1}, "fault drip has no 'speed'"),
        ({}, "unknown fault"),
    ],
)
def test_unknown_faults_are_refused(emulator, fault, said):
    with pytest.raises(RuntimeError, match=said):
        emulator.control("configure", {"faults": [fault]})


def test_a_reset_is_a_reset(strike, emulator):
    strike({"fault": "reset-before-headers", "times": 1})
    body = json.dumps(TILE).encode()
    with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2])), timeout=10) as raw:
        raw.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer tok\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        with pytest.raises(ConnectionResetError):
            raw.recv(1)
