"""What went wrong, and what to do about it: one table for all answers of the service and failures of the wire.

Sources: contract §6.2 (its row numbers stand beside the rows here), DESIGN §6 and the fault catalogue; where they
differ the later ones decide. Rows are tried from the top, the first that fits wins.
"""

from __future__ import annotations

import email.utils
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from downloader.earthengine.redact import readable
from downloader.errors import (
    Action,
    AuthenticationError,
    DownloadError,
    FetchProblem,
    JobError,
    StoppedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from downloader.earthengine.transport import Reply
from downloader.earthengine.wire_error import WireError

__all__ = ["MAX_RETRY_AFTER_S", "UNREACHED", "ending", "failed", "lost", "retry_after_s", "unusable"]

MAX_RETRY_AFTER_S: Final = 300.0
"""A longer `Retry-After` is cut to this: nothing known of the service takes longer than its minute's window."""

UNREACHED: Final = "no connection"
"""Cause of what never reached the service; the limiter takes many of them for an outage."""

FRONT_END_PAUSE_S: Final = 30.0
"""Pause after an HTML 403, which Google's front end sends to addresses it holds for abusive (E20)."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One kind of answer. All that is stated must hold."""

    statuses: tuple[int, ...]
    """HTTP statuses; empty for any."""
    action: Action
    cause: str
    texts: tuple[str, ...] = ()
    """One of these is in the message."""
    reasons: tuple[str, ...] = ()
    """One of these is a `reason` of the error's details; with `texts`, either suffices."""
    json: bool | None = None
    """Whether the body is the API's JSON error; None for either."""
    advice: str = ""
    """What the user can do, after the service's own words."""
    ends_with: type[DownloadError] = StoppedError
    limit: str = "concurrency"
    pause_s: float | None = None
    """Wait that is asked for where the answer has no `Retry-After`."""

    def fits(self, status: int, said: _Said) -> bool:
        if self.statuses and status not in self.statuses:
            return False
        if self.json is not None and self.json != said.is_json:
            return False
        if not self.texts and not self.reasons:
            return True
        return any(text in said.searched for text in self.texts) or any(
            reason in said.reasons for reason in self.reasons
        )


_AUTH, _JOB, _BUG = AuthenticationError, JobError, DownloadError
_RETRY, _SLOW, _SPLIT = Action.RETRY, Action.SLOW, Action.SPLIT
_TILE, _ASSET, _FAIL = Action.FAIL_TILE, Action.FAIL_ASSET, Action.FAIL_JOB
_REPORT = "This is a mistake of the downloader; please report it with the asset and the job file."

_TABLE: Final = (
    # 400: E1–E11, E22
    _Row((400,), _SPLIT, "400 request size", ("Total request size (",)),
    _Row((400,), _SPLIT, "400 grid dimensions", ("Pixel grid dimensions (",)),
    _Row((400,), _SPLIT, "400 memory", ("User memory limit exceeded",)),
    _Row((400,), _SPLIT, "400 timed out", ("Computation timed out",)),
    _Row((400,), _ASSET, "400 unknown band", ("did not match any bands",)),
    _Row((400,), _FAIL, "400 malformed request", ("Invalid JSON payload received",), advice=_REPORT, ends_with=_BUG),
    _Row((400,), _FAIL, "400 malformed request", ("Invalid value at 'file_format'",), advice=_REPORT, ends_with=_BUG),
    _Row((400, 413), _ASSET, "400 payload size", ("Request payload size exceeds",), advice="Simplify the geometry or the expression."),
    _Row((413,), _ASSET, "413 payload size", advice="Simplify the geometry or the expression."),
    _Row((400,), _ASSET, "400 asset not found", ("not found (does not exist or caller does not have access)",)),
    _Row((400, 403, 404), _FAIL, "project not found", ("not found or deleted",), advice="Set service.project to a Cloud project that is registered for Earth Engine.", ends_with=_AUTH),
    _Row((400,), _TILE, "400"),
    # 401: E12, E13 (the client has refreshed once before the table is asked)
    _Row((401,), _FAIL, "401 no credentials", ("missing required authentication",), ("CREDENTIALS_MISSING",), advice="Give credentials under auth, such as key_file.", ends_with=_AUTH),
    _Row((401,), _FAIL, "401", advice="The credentials were refused, also after a refresh: sign in again, or check that the key was not deleted.", ends_with=_AUTH),
    # 403: E14–E20
    _Row((403,), _FAIL, "403 service disabled", ("has not been used in project",), ("SERVICE_DISABLED",), ends_with=_AUTH),
    _Row((403,), _FAIL, "403 user project denied", ("required permission to use project",), ("USER_PROJECT_DENIED",), ends_with=_AUTH),
    _Row((403,), _FAIL, "403 project not registered", ("is not registered to use Earth Engine",), ends_with=_AUTH),
    _Row((403,), _SLOW, "403 rate", reasons=("rateLimitExceeded", "userRateLimitExceeded"), limit="rate"),
    _Row((403,), _FAIL, "403 no computations", ("Permission 'earthengine.computations", "Permission 'serviceusage."), advice="Ask the project's owner for the role Earth Engine Resource Viewer and Service Usage Consumer, or set another service.project.", ends_with=_AUTH),
    _Row((403,), _FAIL, "403 scope", reasons=("ACCESS_TOKEN_SCOPE_INSUFFICIENT",), advice="Sign in again with the scope https://www.googleapis.com/auth/cloud-platform.", ends_with=_AUTH),
    _Row((403,), _ASSET, "403 asset", ("Permission 'earthengine.assets",), ("IAM_PERMISSION_DENIED",), advice="Ask the asset's owner to share it with these credentials.", ends_with=_AUTH),
    _Row((403,), _SLOW, "403 front end", json=False, advice="Google's front end refuses this network address or a proxy stands between; try later or from elsewhere.", ends_with=_AUTH, limit="rate", pause_s=FRONT_END_PAUSE_S),
    _Row((403,), _FAIL, "403", ends_with=_AUTH),
    # 404: E21, E23
    _Row((404,), _ASSET, "404 asset", json=True, ends_with=_JOB),
    _Row((404, 405, 501), _FAIL, "no such method", advice="Is service.endpoint the address of Earth Engine, or of an emulator of it?", ends_with=_JOB),
    # 429: E24–E26
    _Row((429,), _FAIL, "429 monthly quota", ("PerMonth", "per month"), advice="{month}"),
    _Row((429,), _FAIL, "429 daily quota", ("EECU-time", "eecu_usage_time", "PerDay", "per day"), advice="{day}"),
    _Row((429,), _SLOW, "429 concurrency", ("concurrency limit",)),
    _Row((429,), _SLOW, "429 rate", ("per minute", "PerMinute"), ("RATE_LIMIT_EXCEEDED",), limit="rate"),
    _Row((429,), _SLOW, "429 concurrency"),
    # 5xx: E27–E29, and what comes from in between
    _Row((504,), _RETRY, "504"),
    _Row((407,), _FAIL, "407 proxy", advice="Put the proxy's user name and password into HTTPS_PROXY.", ends_with=_AUTH),
    _Row((301, 302, 303, 307, 308), _RETRY, "redirect"),
    _Row((408, 409, 425, 499), _RETRY, "try again"),
)  # fmt: skip

_WIRE: Final[Mapping[str, tuple[Action, str]]] = {
    "connect": (_RETRY, UNREACHED),
    "dns": (_RETRY, "no address"),
    "tls": (_RETRY, "TLS"),
    "proxy": (_RETRY, "proxy"),
    "reset": (_RETRY, "reset"),
    "short body": (_RETRY, "short body"),
    "first byte": (_RETRY, "no first byte"),
    "idle": (_RETRY, "stalled"),
    "slow": (_RETRY, "too slow"),
    "large": (_RETRY, "too large"),
    "encoding": (_RETRY, "bad encoding"),
    "protocol": (_RETRY, "not HTTP"),
    "url": (_FAIL, "bad URL"),
}
"""E30: kinds of `WireError` → what to do, and the name to count by."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What an answer says, whatever its form."""

    message: str = ""
    searched: str = ""
    """Where texts of the table are looked for: the message and the metadata of its details."""
    reasons: frozenset[str] = field(default_factory=frozenset)
    is_json: bool = False


def failed(reply: Reply, now: datetime | None = None) -> FetchProblem:
    """The problem behind an answer whose status is not 200.

    Args:
        reply: status, headers and at least the start of the body.
        now: the present, for `Retry-After` dates and quota resets; None asks the machine's clock.
    """
    now = now or datetime.now(UTC)
    said = _read(bytes(reply.body))
    row = next((row for row in _TABLE if row.fits(reply.status, said)), None)
    if row is None:
        transient = reply.status >= 500 or reply.status < 400
        row = _Row((), _RETRY if transient else _TILE, str(reply.status))
    return FetchProblem(
        row.action,
        row.cause,
        _message(reply, said, row, now),
        status=reply.status,
        retry_after_s=_either(retry_after_s(reply.headers, now), row.pause_s),
        limit=row.limit,
        ends_with=row.ends_with,
    )


def unusable(reply: Reply, reason: str) -> FetchProblem:
    """The problem of an answer with status 200 whose body is not what was asked for (E31)."""
    said = _read(bytes(reply.body[:65_536]))
    start = bytes(reply.body[:256]).lstrip().lower()
    if said.is_json:
        return FetchProblem(
            _RETRY, "JSON under 200", f"an error under status 200: {said.message}", status=200
        )
    if start.startswith(b"<"):
        return FetchProblem(
            _RETRY, "HTML under 200", f"a web page under status 200: {said.message}", status=200
        )
    return FetchProblem(
        _RETRY, "bad NPY", f"the answer is not the pixels asked for: {readable(reason)}", status=200
    )


def lost(error: WireError) -> FetchProblem:
    """The problem behind a request that brought no whole answer."""
    action, cause = _WIRE[error.kind]
    ends_with = JobError if action is _FAIL else StoppedError
    return FetchProblem(action, cause, readable(str(error)), ends_with=ends_with)


def ending(problem: FetchProblem, subject: str = "") -> DownloadError:
    """The exception that ends a job which cannot do without this answer (metadata, a canary)."""
    text = f"{subject}: {problem.message}" if subject else problem.message
    match problem.action:
        case Action.RETRY | Action.SLOW if problem.ends_with is StoppedError:
            return StoppedError(f"{text} (gave up for now; the same command continues)")
        case Action.RETRY | Action.SLOW:
            return problem.ends_with(text)
        case Action.FAIL_ASSET if problem.status == 403:
            return AuthenticationError(text)
        case Action.FAIL_JOB:
            return problem.ends_with(text)
    return JobError(text)


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that `Retry-After` asks to wait, given in seconds or as a date; capped, None where it says nothing."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            at = email.utils.parsedate_to_datetime(text)
        except (ValueError, IndexError, OverflowError):
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
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
    advice = {"{day}": _daily(now), "{month}": _MONTHLY}.get(row.advice, row.advice)
    line = f"{reply.status}: {words}"
    return f"{line} {advice}" if advice else line


def _read(body: bytes) -> _Said:
    """The API's JSON error (contract §6.1), or the text of whatever else came."""
    text = body.decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return _Said(readable(text), text[:16_384])
    if isinstance(document, list) and document:  # streaming methods wrap their error in a list
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, str):  # OAuth's form
        return _Said(
            readable(f"{error}: {document.get('error_description', '')}"), text[:16_384], is_json=True
        )
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


def _either(first: float | None, second: float | None) -> float | None:
    return second if first is None else first


_MONTHLY: Final = (
    "The month's allowance of the project is used up; the same command continues after its reset."
)


def _daily(now: datetime) -> str:
    """When the day's quota comes back: midnight in California (contract E26)."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        there = now.astimezone(ZoneInfo("America/Los_Angeles"))
    except ZoneInfoNotFoundError:
        return "The quota resets at midnight Pacific time; run the same command again after that."
    midnight = (there + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight.astimezone(UTC)
    return f"The quota resets at midnight Pacific time ({at:%Y-%m-%d %H:%M} UTC); run the same command again after that."
