"""Every row of the error table, by the texts that the contract states."""

import json
from datetime import UTC, datetime

import pytest

from downloader.earthengine.error_table import (
    MAX_RETRY_AFTER_S,
    ending,
    failed,
    lost,
    retry_after_s,
    unusable,
)
from downloader.earthengine.transport import Reply
from downloader.earthengine.wire_error import WireError
from downloader.errors import (
    Action,
    AuthenticationError,
    Cause,
    DownloadError,
    FetchProblem,
    JobError,
    StoppedError,
)

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
HTML = "<!DOCTYPE html><html><title>Error {0}</title><p><b>{0}.</b> That's an error.</html>"


def info(reason, **metadata):
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": metadata}


def error(status, message, *details, name="X", **members):
    body = {
        "error": {"code": status, "message": message, "status": name, "details": list(details), **members}
    }
    return Reply(status, {"content-type": "application/json"}, json.dumps(body).encode())


E25 = (
    "Quota exceeded for quota metric 'Number of read requests' and limit 'Number of read requests per minute per user' "
    "of service 'earthengine.googleapis.com' for consumer 'project_number:1'."
)
E26 = "Quota exceeded for quota metric 'Earth Engine compute time (EECU-time) per day in seconds' and limit 'x'."

ROWS = {
    "E1": (error(400, "Total request size (50343936 bytes) must be less than or equal to 50331648 bytes."), Action.SPLIT, "400 request size"),
    "E2": (error(400, "Pixel grid dimensions (32769x1) must be less than or equal to 32768."), Action.SPLIT, "400 grid dimensions"),
    "E3": (error(400, "User memory limit exceeded."), Action.SPLIT, "400 memory"),
    "E4": (error(400, "Computation timed out."), Action.SPLIT, "400 timed out"),
    "E5": (error(400, "Image.select: Band pattern 'X' did not match any bands. Available bands: [A, B]"), Action.FAIL_ASSET, "400 unknown band"),
    "E7": (error(400, "Invalid JSON payload received. Unknown name \"x\" at 'y': Cannot find field."), Action.FAIL_JOB, "400 malformed request"),
    "E8": (error(400, "Invalid value at 'file_format' (type.googleapis.com/ImageFileFormat), \"X\""), Action.FAIL_JOB, "400 malformed request"),
    "E9": (error(400, "Request payload size exceeds the limit: 10485760 bytes."), Action.FAIL_ASSET, "payload size"),
    "E9 413": (Reply(413, {}, b""), Action.FAIL_ASSET, "payload size"),
    "E10": (error(400, "Image.load: Image asset 'X' not found (does not exist or caller does not have access)."), Action.FAIL_ASSET, "asset not found"),
    "E11": (error(400, "Projection: The CRS is odd."), Action.FAIL_TILE, "400"),
    "E12": (error(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.", info("ACCESS_TOKEN_EXPIRED")), Action.FAIL_JOB, "401"),
    "E13": (error(401, "Request is missing required authentication credential. Expected OAuth 2 access token.", info("CREDENTIALS_MISSING")), Action.FAIL_JOB, "401 no credentials"),
    "E14": (error(403, "Google Earth Engine API has not been used in project 1 before or it is disabled. Enable it by visiting https://x/overview?project=1 then retry.", info("SERVICE_DISABLED")), Action.FAIL_JOB, "403 service disabled"),
    "E15": (error(403, "Caller does not have required permission to use project p. Grant the caller the role.", info("USER_PROJECT_DENIED")), Action.FAIL_JOB, "403 user project denied"),
    "E16": (error(403, "Project p is not registered to use Earth Engine. Visit https://x to register your project."), Action.FAIL_JOB, "403 project not registered"),
    "E17": (error(403, "Permission 'earthengine.assets.get' denied on resource 'projects/x' (or it may not exist).", info("IAM_PERMISSION_DENIED")), Action.FAIL_ASSET, "403 asset"),
    "E18": (error(403, "Permission 'earthengine.computations.create' denied on resource 'projects/p' (or it may not exist).", info("IAM_PERMISSION_DENIED")), Action.FAIL_JOB, "403 no computations"),
    "E19": (error(403, "Rate Limit Exceeded", errors=[{"reason": "userRateLimitExceeded"}]), Action.SLOW, "403 rate"),
    "E20": (Reply(403, {}, HTML.format(403).encode()), Action.SLOW, "403 front end"),
    "403 else": (error(403, "The caller does not have permission"), Action.FAIL_JOB, "403"),
    "E21": (error(404, "Asset 'projects/x' does not exist or doesn't allow this operation.", name="NOT_FOUND"), Action.FAIL_ASSET, "asset not found"),
    "E22": (error(404, "Project 'projects/p' not found or deleted."), Action.FAIL_JOB, "project not found"),
    "E22 400": (error(400, "Project 'projects/p' not found or deleted."), Action.FAIL_JOB, "project not found"),
    "E23": (Reply(404, {}, HTML.format(404).encode()), Action.FAIL_JOB, "no such method"),
    "E24": (error(429, "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded."), Action.SLOW, "429 concurrency"),
    "E25": (error(429, E25, info("RATE_LIMIT_EXCEEDED", quota_limit="ReadRequestsPerMinutePerProject")), Action.SLOW, "429 rate"),
    "E25 details": (error(429, "Quota exceeded.", info("RATE_LIMIT_EXCEEDED")), Action.SLOW, "429 rate"),
    "E26": (error(429, E26, info("RATE_LIMIT_EXCEEDED", quota_limit="EecuPerDayPerProject")), Action.FAIL_JOB, "daily quota"),
    "E26 details": (error(429, "Quota exceeded.", info("RESOURCE_EXHAUSTED", quota_limit="X-PerDay-project")), Action.FAIL_JOB, "daily quota"),
    "429 bare": (Reply(429, {}, b""), Action.SLOW, "429 concurrency"),
    "E27": (error(500, "An internal error has occurred."), Action.RETRY, "500"),
    "E28": (Reply(502, {}, HTML.format(502).encode()), Action.RETRY, "502"),
    "E28 503": (error(503, "The service is currently unavailable."), Action.RETRY, "503"),
    "E29": (Reply(504, {}, b"upstream"), Action.RETRY, "504"),
    "redirect": (Reply(302, {"location": "https://u:p@login.example/x?key=abcdefgh"}, b""), Action.RETRY, "redirect"),
    "no content": (Reply(204, {}, b""), Action.RETRY, "unexpected status"),
    "proxy": (Reply(407, {}, b""), Action.FAIL_JOB, "407 proxy"),
    "odd": (Reply(418, {}, b"teapot"), Action.FAIL_TILE, "unexpected status"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_each_row(row):
    reply, action, cause = ROWS[row]
    problem = failed(reply, NOW)
    assert (problem.action, problem.cause, problem.status) == (action, cause, reply.status)
    assert "\n" not in problem.message
    assert len(problem.message) < 480


def test_words_of_the_service_reach_the_user():
    for row in ("E3", "E5", "E11", "E14", "E17", "E21", "E24"):
        reply = ROWS[row][0]
        assert json.loads(reply.body)["error"]["message"] in failed(reply, NOW).message


def test_concurrency_and_rate_are_told_apart():
    assert failed(ROWS["E24"][0], NOW).limit == "concurrency"
    assert failed(ROWS["E25"][0], NOW).limit == "rate"
    assert failed(ROWS["E19"][0], NOW).limit == "rate"


@pytest.mark.parametrize(
    ("now", "reset"),
    [
        (datetime(2026, 3, 4, 12, 0, tzinfo=UTC), "2026-03-05 08:00 UTC"),
        (datetime(2026, 7, 4, 6, 59, tzinfo=UTC), "2026-07-04 07:00 UTC"),
        (datetime(2026, 3, 8, 9, 0, tzinfo=UTC), "2026-03-09 07:00 UTC"),  # the day the clocks go ahead
    ],
)
def test_the_daily_quota_says_when_to_come_back(now, reset):
    problem = failed(ROWS["E26"][0], now)
    assert problem.ends_with is StoppedError
    assert "midnight Pacific" in problem.message
    assert reset in problem.message


def test_exits():
    def status(row):
        return ending(failed(ROWS[row][0], NOW), "it").exit_status

    assert [status(row) for row in ("E12", "E13", "E14", "E15", "E16", "E17", "E18", "E20", "E22")] == [6] * 9
    assert [status(row) for row in ("E5", "E9", "E10", "E11", "E21", "E23")] == [2] * 6
    assert [status(row) for row in ("E24", "E25", "E26", "E27", "E28", "E29", "redirect")] == [4] * 7
    assert status("E7") == DownloadError.exit_status == 1


def test_a_redirect_names_the_host_and_nothing_else_of_it():
    message = failed(ROWS["redirect"][0], NOW).message
    assert "login.example" in message
    assert not any(secret in message for secret in ("u:p", "abcdefgh"))


def test_the_front_end_asks_for_long_pauses_and_ends_as_a_matter_of_permission():
    problem = failed(ROWS["E20"][0], NOW)
    assert problem.retry_after_s == 30
    assert problem.ends_with is AuthenticationError


def test_an_error_in_a_list_or_in_oauths_form_is_read():
    listed = Reply(400, {}, json.dumps([json.loads(ROWS["E3"][0].body)]).encode())
    assert failed(listed, NOW).cause == "400 memory"
    oauth = Reply(401, {}, b'{"error": "invalid_token", "error_description": "expired"}')
    assert "invalid_token: expired" in failed(oauth, NOW).message


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"[1]", b'{"error": 1}', b'{"error": {}}', b'{"error": {"message": {"a": 1}, "details": 3}}',
     b'{"error": {"details": [1, {"metadata": 2}], "errors": {}}}', b"[" * 60_000, b"\xff\xfe" * 100],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503])
def test_odd_bodies_are_no_trouble(status, body):
    reply = Reply(status, {}, body)
    problem = unusable(reply, "bad") if status == 200 else failed(reply, NOW)
    assert problem.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("-3", 0),
        ("86400", MAX_RETRY_AFTER_S),
        ("inf", MAX_RETRY_AFTER_S),
        ("nan", None),
        ("Wed, 04 Mar 2026 12:00:30 GMT", 30),
        ("Wed, 04 Mar 2026 11:00:00 GMT", 0),
        ("Thu, 05 Mar 2026 12:00:00 GMT", MAX_RETRY_AFTER_S),
        ("Wed, 04 Mar 2026 12:00:30", 30),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date_and_capped(text, seconds):
    assert retry_after_s({"retry-after": text}, NOW) == seconds


def test_retry_after_reaches_the_problem():
    reply = Reply(503, {"retry-after": "12"}, b"")
    assert failed(reply, NOW).retry_after_s == 12


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (ROWS["E27"][0].body, "JSON under 200"),
        (HTML.format(502).encode(), "HTML under 200"),
        (b"\n  <html>", "HTML under 200"),
        (b"\x93NUMPY\x01\x00", "bad NPY"),
        (b"", "bad NPY"),
    ],
)
def test_a_success_without_pixels_may_pass(body, cause):
    problem = unusable(Reply(200, {}, body), "shape (1, 2), wanted (3, 4)")
    assert (problem.action, problem.cause) == (Action.RETRY, cause)


@pytest.mark.parametrize(
    "cause",
    [Cause.NO_CONNECTION, Cause.NO_ADDRESS, Cause.TLS, Cause.PROXY, Cause.RESET, Cause.IDLE_CONNECTION, Cause.SHORT_BODY,
     Cause.NO_FIRST_BYTE, Cause.STALLED, Cause.TOO_SLOW, Cause.TOO_LARGE, Cause.BAD_ENCODING, Cause.NOT_HTTP],
)  # fmt: skip
def test_failures_of_a_connection_may_pass(cause):
    problem = lost(WireError(cause, "no luck with http://u:passw0rd@proxy"))
    assert (problem.action, problem.cause) == (Action.RETRY, cause)
    assert problem.status is None
    assert "passw0rd" not in problem.message
    assert isinstance(ending(problem), StoppedError)


@pytest.mark.parametrize(
    ("cause", "ends_with", "advice"),
    [
        (Cause.BAD_URL, JobError, ""),
        (Cause.CERTIFICATE, StoppedError, "SSL_CERT_FILE"),
        (Cause.PROXY_LOGIN, AuthenticationError, "HTTPS_PROXY"),
    ],
)
def test_what_repeating_does_not_cure_ends_the_job_with_advice(cause, ends_with, advice):
    problem = lost(WireError(cause, "odd"))
    assert (problem.action, type(ending(problem))) == (Action.FAIL_JOB, ends_with)
    assert advice in problem.message


CUSTOM = (
    "Your usage exceeded the custom quota for 'earthengine.googleapis.com/{}', which is adjustable by your administrator "
    "in the Google Cloud console: https://console.cloud.google.com/quotas/?project=_."
)
SEEN = {
    CUSTOM.format("daily_eecu_usage_time"): (Action.FAIL_JOB, Cause.DAILY_QUOTA),
    CUSTOM.format("monthly_eecu_usage_time"): (Action.FAIL_JOB, Cause.MONTHLY_QUOTA),
    "Custom quota exceeded: " + CUSTOM.format("bigquery_slot_usage_time"): (Action.FAIL_JOB, Cause.CUSTOM_QUOTA),
    "Output of image computation is too large (20 bands for 851968 pixels = 126.8 MiB > 80.0 MiB).\nIf this is a "
    "reduction, try specifying a larger 'tileScale' parameter.": (Action.SPLIT, Cause.OUTPUT_SIZE),
    "Reprojection output too large (10017x10017 pixels).": (Action.SPLIT, Cause.REPROJECTION_SIZE),
    "Number of pixels requested from Image.reproject exceeds the maximum allowed (2^31).": (Action.SPLIT, Cause.REPROJECTION_SIZE),
    "Earth Engine memory capacity exceeded.": (Action.RETRY, Cause.MEMORY_CAPACITY),
    "Too many concurrent aggregations.": (Action.SLOW, Cause.AGGREGATIONS),
    "Quota exceeded: Too many concurrent aggregations.": (Action.SLOW, Cause.AGGREGATIONS),
    "Image.select: Band pattern 'B2' was applied to an Image with no bands.": (Action.FAIL_ASSET, Cause.EMPTY_COLLECTION),
    "Image.load: Image asset 'X' not found.": (Action.FAIL_ASSET, Cause.ASSET_NOT_FOUND),
    "Image.select: Parameter 'input' is required and may not be null.": (Action.FAIL_ASSET, Cause.ASSET_NOT_FOUND),
    "Image.load: Image asset 'X' not found at version 7.": (Action.FAIL_ASSET, Cause.ASSET_CHANGED),
    "Not signed up for Earth Engine or project is not registered. Visit https://developers.google.com/earth-engine/guides/access": (Action.FAIL_JOB, Cause.NO_PROJECT),
    "Google Earth Engine API has not been used in project 522309567947 before or it is disabled. Enable it by visiting https://x": (Action.FAIL_JOB, Cause.NO_PROJECT),
    "Caller does not have required permission to use project 517222506229. Grant the caller the role": (Action.FAIL_JOB, Cause.NO_PROJECT),
    "Your application is authenticating by using local Application Default Credentials. The earthengine.googleapis.com API "
    "requires a quota project, which is not set by default.": (Action.FAIL_JOB, Cause.NO_PROJECT),
}  # fmt: skip


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
@pytest.mark.parametrize("text", SEEN)
def test_texts_seen_of_the_real_service_count_whatever_their_status(text, status):
    problem = failed(error(status, text), NOW)
    assert (problem.action, problem.cause) == SEEN[text]


def test_capacity_without_memory_is_an_ordinary_503():
    assert failed(error(503, "Earth Engine capacity exceeded."), NOW).split_after is None


def test_no_project_says_what_to_set():
    problem = failed(error(403, next(text for text in SEEN if "522309567947" in text)), NOW)
    assert "Set service.project" in problem.message
    assert problem.ends_with is AuthenticationError


def test_endings_name_their_subject():
    problem = FetchProblem(Action.FAIL_TILE, Cause.BAD_REQUEST, "400: odd", status=400)
    assert str(ending(problem, "A/B")) == "A/B: 400: odd"
