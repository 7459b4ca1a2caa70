"""Map every answer of the service, and every failure of a connection, to the action that it calls for.

Rows follow docs/contract.md §6.2; the texts without a status were seen in public reports of the real service, some of
them under more than one status. Rows are tried from the top, the first that fits wins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from downloader.datasets.facts import near_datasets
from downloader.earthengine.redact import readable
from downloader.errors import (
    Action,
    AuthenticationError,
    Cause,
    DownloadError,
    FetchProblem,
    JobError,
    StoppedError,
)
from downloader.model.time import http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.earthengine.transport import Reply
    from downloader.earthengine.wire_error import WireError


MAX_RETRY_AFTER_S: Final = 300.0
"""Longest `Retry-After` that is obeyed: the service's quotas count by the minute."""

FRONT_END_PAUSE_S: Final = 30.0
"""Pause after an HTML 403, which Google's front end sends to addresses that it takes for abusive."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One kind of answer; it fits where every condition that is stated holds."""

    statuses: tuple[int, ...]
    """HTTP statuses; empty for any."""
    action: Action
    cause: Cause
    texts: tuple[str, ...] = ()
    """One of these is in the message; `…` stands for anything."""
    reasons: tuple[str, ...] = ()
    """One of these is a `reason` of the error's details; with `texts`, either suffices."""
    json: bool | None = None
    """Whether the body is the API's JSON error; None for either."""
    advice: str = ""
    """Advice to the user, which follows the service's own words."""
    ends_with: type[DownloadError] = StoppedError
    limit: str = "concurrency"
    pause_s: float | None = None
    """Seconds to wait where the answer has no `Retry-After`."""
    split_after: int | None = None
    """Occurrences for one request after which it is split."""

    def fits(self, status: int, said: _Said) -> bool:
        if self.statuses and status not in self.statuses:
            return False
        if self.json is not None and self.json != said.is_json:
            return False
        if not self.texts and not self.reasons:
            return True
        return any(all(part in said.searched for part in text.split("…")) for text in self.texts) or any(
            reason in said.reasons for reason in self.reasons
        )


_AUTH, _JOB, _BUG = AuthenticationError, JobError, DownloadError
_RETRY, _SLOW, _SPLIT = Action.RETRY, Action.SLOW, Action.SPLIT
_TILE, _ASSET, _FAIL = Action.FAIL_TILE, Action.FAIL_ASSET, Action.FAIL_JOB
_REPORT = "This is a mistake of the downloader; please report it with the asset and the job file."
_SIMPLIFY = "Simplify the geometry or the expression."
_MONTHLY = "The month's allowance of the project is used up; the same command continues after its reset."
_CUSTOM = "An administrator of the project set this quota: ask for a higher one, or run the job again after its reset."
_SET_PROJECT = "Set service.project to a Cloud project of yours that is registered for Earth Engine."

_PROXY_LOGIN = "Put the proxy's user name and password into HTTPS_PROXY."

_SDK_PROJECTS = ("764086051850", "618104708054", "32555940559", "522309567947", "1014160490159", "1057398310658", "517222506229")  # fmt: skip
"""Projects of Google's own tools: the service names one of them where the request named no project."""

_TABLE: Final = (
    # Whatever the status: the same text was seen under several, or its status was never recorded.
    _Row((), _FAIL, Cause.MONTHLY_QUOTA, ("monthly_eecu_usage_time",), advice=_MONTHLY),
    _Row((), _FAIL, Cause.DAILY_QUOTA, ("eecu_usage_time",), advice="{day}"),
    _Row((), _FAIL, Cause.CUSTOM_QUOTA, ("exceeded the custom quota",), advice=_CUSTOM),
    _Row((), _SPLIT, Cause.OUTPUT_SIZE, ("Output of image computation is too large",)),
    _Row((), _SPLIT, Cause.REPROJECTION_SIZE, ("Reprojection output too large", "Image.reproject exceeds the maximum")),
    _Row((), _RETRY, Cause.MEMORY_CAPACITY, ("memory capacity exceeded",), split_after=2),
    _Row((), _SLOW, Cause.AGGREGATIONS, ("Too many concurrent aggregations",), split_after=3),
    _Row((), _ASSET, Cause.EMPTY_COLLECTION, ("was applied to an Image with no bands",), advice="No image matches: take a longer period, a larger region or a looser filter.", ends_with=_JOB),
    _Row((), _ASSET, Cause.ASSET_CHANGED, ("not found at version",), advice="The image changed in the catalogue while it was fetched; run the same command again.", ends_with=_JOB),
    _Row((), _ASSET, Cause.ASSET_NOT_FOUND, ("Image.load: Image asset…not found",), ends_with=_JOB),
    _Row((), _ASSET, Cause.ASSET_NOT_FOUND, ("is required and may not be null",), ends_with=_JOB),
    _Row((), _FAIL, Cause.NO_PROJECT, (*(f"project {number}" for number in _SDK_PROJECTS), "requires a quota project", "Not signed up for Earth Engine"), advice=_SET_PROJECT, ends_with=_AUTH),
    # 400: E1-E11, E22
    _Row((400,), _SPLIT, Cause.REQUEST_SIZE, ("Total request size (",)),
    _Row((400,), _SPLIT, Cause.GRID_DIMENSIONS, ("Pixel grid dimensions (",)),
    _Row((400,), _SPLIT, Cause.MEMORY, ("User memory limit exceeded",)),
    _Row((400,), _SPLIT, Cause.TIMED_OUT, ("Computation timed out",)),
    _Row((400,), _ASSET, Cause.UNKNOWN_BAND, ("did not match any bands",), ends_with=_JOB),
    _Row((400,), _FAIL, Cause.MALFORMED_REQUEST, ("Invalid JSON payload received", "Invalid value at 'file_format'"), advice=_REPORT, ends_with=_BUG),
    _Row((400,), _ASSET, Cause.PAYLOAD_SIZE, ("Request payload size exceeds",), advice=_SIMPLIFY),
    _Row((413,), _ASSET, Cause.PAYLOAD_SIZE, advice=_SIMPLIFY),
    _Row((400,), _ASSET, Cause.ASSET_NOT_FOUND, ("not found (does not exist or caller does not have access)",), ends_with=_JOB),
    _Row((400, 403, 404), _FAIL, Cause.PROJECT_NOT_FOUND, ("not found or deleted",), advice=_SET_PROJECT, ends_with=_AUTH),
    _Row((400,), _TILE, Cause.BAD_REQUEST),
    # 401: E12, E13; `TokenSource` decides whether one ends the job
    _Row((401,), _FAIL, Cause.NO_CREDENTIALS, ("missing required authentication",), ("CREDENTIALS_MISSING",), advice="Give credentials under auth, such as key_file.", ends_with=_AUTH),
    _Row((401,), _FAIL, Cause.UNAUTHENTICATED, ends_with=_AUTH),
    # 403: E14-E20
    _Row((403,), _FAIL, Cause.SERVICE_DISABLED, ("has not been used in project",), ("SERVICE_DISABLED",), ends_with=_AUTH),
    _Row((403,), _FAIL, Cause.USER_PROJECT_DENIED, ("required permission to use project",), ("USER_PROJECT_DENIED",), ends_with=_AUTH),
    _Row((403,), _FAIL, Cause.NOT_REGISTERED, ("is not registered to use Earth Engine",), ends_with=_AUTH),
    _Row((403,), _SLOW, Cause.FORBIDDEN_RATE, reasons=("rateLimitExceeded", "userRateLimitExceeded"), limit="rate"),
    _Row((403,), _FAIL, Cause.NO_COMPUTATIONS, ("Permission 'earthengine.computations", "Permission 'serviceusage."), advice="Ask the project's owner for the role Earth Engine Resource Viewer and Service Usage Consumer, or set another service.project.", ends_with=_AUTH),
    _Row((403,), _FAIL, Cause.SCOPE, reasons=("ACCESS_TOKEN_SCOPE_INSUFFICIENT",), advice="Sign in again with the scope https://www.googleapis.com/auth/cloud-platform.", ends_with=_AUTH),
    _Row((403,), _ASSET, Cause.ASSET_DENIED, ("Permission 'earthengine.assets",), ("IAM_PERMISSION_DENIED",), advice="Ask the asset's owner to share it with these credentials.", ends_with=_AUTH),
    _Row((403,), _SLOW, Cause.FRONT_END, json=False, advice="Google's front end refuses this network address or a proxy stands between; try later or from elsewhere.", ends_with=_AUTH, limit="rate", pause_s=FRONT_END_PAUSE_S),
    _Row((403,), _FAIL, Cause.FORBIDDEN, ends_with=_AUTH),
    # 404: E21, E23
    _Row((404,), _ASSET, Cause.ASSET_NOT_FOUND, json=True, ends_with=_JOB),
    _Row((404, 405, 501), _FAIL, Cause.NO_METHOD, advice="Is service.endpoint the address of Earth Engine, or of an emulator of it?", ends_with=_JOB),
    # 429: E24-E26
    _Row((429,), _FAIL, Cause.MONTHLY_QUOTA, ("PerMonth", "per month"), advice=_MONTHLY),
    _Row((429,), _FAIL, Cause.DAILY_QUOTA, ("EECU-time", "PerDay", "per day"), advice="{day}"),
    _Row((429,), _SLOW, Cause.CONCURRENCY, ("concurrency limit",)),
    _Row((429,), _SLOW, Cause.RATE, ("per minute", "PerMinute"), ("RATE_LIMIT_EXCEEDED",), limit="rate"),
    _Row((429,), _SLOW, Cause.CONCURRENCY),
    # 5xx: E27-E29, and what comes from proxies
    _Row((500,), _RETRY, Cause.INTERNAL),
    _Row((502,), _RETRY, Cause.BAD_GATEWAY),
    _Row((503,), _RETRY, Cause.UNAVAILABLE),
    _Row((504,), _RETRY, Cause.GATEWAY_TIMEOUT, split_after=2),
    _Row((407,), _FAIL, Cause.PROXY_LOGIN, advice=_PROXY_LOGIN, ends_with=_AUTH),
    _Row((301, 302, 303, 307, 308), _RETRY, Cause.REDIRECT),
    _Row((408, 409, 425, 499), _RETRY, Cause.TRY_AGAIN),
)  # fmt: skip

_FATAL: Final[Mapping[Cause, tuple[type[DownloadError], str]]] = {
    Cause.BAD_URL: (JobError, ""),
    Cause.CERTIFICATE: (
        StoppedError,
        "Where a proxy of this network shows a certificate of its own, set SSL_CERT_FILE to a file with its authority's.",
    ),
    Cause.PROXY_LOGIN: (AuthenticationError, _PROXY_LOGIN),
}
"""Failures of a connection that repeating does not cure: the error that ends the job, and what the user can do."""


@dataclass(frozen=True, slots=True)
class _Said:
    """The text of an answer, in any of its forms."""

    message: str = ""
    searched: str = ""
    """Text in which the table's texts are looked for: the message and the metadata of its details."""
    reasons: frozenset[str] = field(default_factory=frozenset)
    is_json: bool = False


def failed(reply: Reply, now: datetime | None = None) -> FetchProblem:
    """Return the problem of an answer whose status is not 200.

    Args:
        reply: status, headers and at least the start of the body.
        now: the present, for `Retry-After` dates and quota resets; None asks the machine's clock.
    """
    now = now or datetime.now(UTC)
    said = _read(bytes(reply.body))
    row = next((row for row in _TABLE if row.fits(reply.status, said)), None)
    if row is None:
        transient = reply.status >= 500 or reply.status < 400
        row = _Row((), _RETRY if transient else _TILE, Cause.UNEXPECTED_STATUS)
    asked_s = retry_after_s(reply.headers, now)
    return FetchProblem(
        row.action,
        row.cause,
        _message(reply, said, row, now),
        status=reply.status,
        retry_after_s=row.pause_s if asked_s is None else asked_s,
        limit=row.limit,
        ends_with=row.ends_with,
        split_after=row.split_after,
    )


def unusable(reply: Reply, reason: str) -> FetchProblem:
    """Return the problem of an answer with status 200 whose body is not what was asked for."""
    said = _read(bytes(reply.body[:65_536]))
    start = bytes(reply.body[:256]).lstrip().lower()
    if said.is_json:
        cause, text = Cause.JSON_ANSWER, f"an error under status 200: {said.message}"
    elif start.startswith(b"<"):
        cause, text = Cause.HTML_ANSWER, f"a web page under status 200: {said.message}"
    else:
        cause, text = Cause.BAD_NPY, f"the answer is not the pixels asked for: {readable(reason)}"
    return FetchProblem(_RETRY, cause, text, status=200)


def lost(error: WireError) -> FetchProblem:
    """Return the problem of a request that brought no whole answer."""
    words = readable(str(error))
    if error.cause in _FATAL:
        ends_with, advice = _FATAL[error.cause]
        return FetchProblem(_FAIL, error.cause, f"{words} {advice}".rstrip(), ends_with=ends_with)
    return FetchProblem(_RETRY, error.cause, words)


def ending(problem: FetchProblem, subject: str = "") -> DownloadError:
    """Return the exception that ends a job which cannot do without this answer (metadata, a type check)."""
    text = f"{subject}: {problem.message}" if subject else problem.message
    match problem.action:
        case Action.RETRY | Action.SLOW if problem.ends_with is StoppedError:
            return StoppedError(f"{text} (gave up for now; the same command continues)")
        case Action.RETRY | Action.SLOW | Action.FAIL_JOB:
            return problem.ends_with(text)
        case Action.FAIL_ASSET if problem.status == 403:
            return AuthenticationError(text)
    near = near_datasets(subject) if subject and problem.cause is Cause.ASSET_NOT_FOUND else []
    return JobError(f"{text} Did you mean {' or '.join(near)}?" if near else text)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that `Retry-After` asks to wait, capped; None where it says nothing.

    The header holds seconds or a date.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        at = http_date(text)
        if at is None:
            return None
        seconds = (at - now).total_seconds()
    if seconds != seconds:  # NaN, which float() reads
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _message(reply: Reply, said: _Said, row: _Row, now: datetime) -> str:
    words = said.message or "no text"
    if 300 <= reply.status < 400:
        from urllib.parse import urlsplit

        host = readable(urlsplit(reply.headers.get("location", "")).netloc.rpartition("@")[2], 80)
        words = f"a redirect to {host or 'elsewhere'}, which is not followed"
    advice = _daily(now) if row.advice == "{day}" else row.advice
    line = f"{reply.status}: {words}"
    return f"{line} {advice}" if advice else line


def _read(body: bytes) -> _Said:
    """Read the API's JSON error (docs/contract.md §6.1), or the text of whatever else came."""
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, list) and document:  # streaming methods wrap their error in a list
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str):  # OAuth's form
        error = {"message": f"{error}: {document.get('error_description', '')}"}
    if not isinstance(error, dict):
        return _Said(readable(text), text[:16_384])
    message = str(error.get("message") or error.get("status") or "")
    reasons: set[str] = set()
    searched = [message]
    for item in (*_dicts(error.get("details")), *_dicts(error.get("errors"))):
        reasons.add(str(item.get("reason", "")))
        metadata = item.get("metadata")
        if isinstance(metadata, dict):
            searched += [str(value) for value in metadata.values()]
    return _Said(readable(message), "\n".join(searched), frozenset(reasons - {""}), is_json=True)


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _daily(now: datetime) -> str:
    """Return the advice that tells when the day's quota resets: midnight in California (docs/contract.md §5.2)."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        there = now.astimezone(ZoneInfo("America/Los_Angeles"))
        midnight = (there + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    except ZoneInfoNotFoundError:
        return "The quota resets at midnight Pacific time; run the job again after that."
    at = midnight.astimezone(UTC)
    return (
        f"The quota resets at midnight Pacific time ({at:%Y-%m-%d %H:%M} UTC); run the job again after that."
    )
