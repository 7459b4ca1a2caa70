"""The errors a job can end with: one tree, divided by what the user does next.

    DownloadError                   root of everything this package raises        exit 1
    ├── JobError                    the job is wrong; nothing was fetched          exit 2
    ├── IncompleteError             finished, but some tiles failed                exit 3
    ├── StoppedError                cannot go on now; a rerun continues            exit 4
    ├── RefusedError                the target is not ours to write                exit 5
    │   ├── LockedError             another run holds the mosaic
    │   └── DriftError              the mosaic was made by a job that means something else
    ├── AuthenticationError         credentials, or what they permit                 exit 6
    └── InterruptionError           a signal asked to stop; drained and saved      exit 130, 143

The library's blocking calls raise the last one as an `InterruptedRunError`, which is a KeyboardInterrupt: a loop that logs
errors and goes on does not swallow Ctrl-C.

What happens to one tile is no exception but an `Outcome`; `TileError` exists only between the parts that
fetch and the loop that turns it into one.
"""

from __future__ import annotations

import enum
import os
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

_HERE = str(Path(__file__).parent)


class _Readable(BaseException):
    """Error that notebooks show by its message and the caller's own lines."""

    def _render_traceback_(self) -> list[str]:
        frames = [
            frame
            for frame in traceback.extract_tb(self.__traceback__)
            if not frame.filename.startswith(_HERE) and f"{os.sep}site-packages{os.sep}" not in frame.filename
        ]
        lines = []
        for frame in frames[-3:]:
            place = "cell" if "ipykernel_" in frame.filename else frame.filename
            lines += [f"  {place}, line {frame.lineno}", f"    {frame.line}"]
        return [f"{type(self).__name__}: {self}", *([""] if lines else []), *lines]


def _again(kind: type[DownloadError], arguments: tuple[object, ...]) -> DownloadError:
    return kind.__new__(kind, *arguments)


class DownloadError(_Readable, Exception):
    """Root of what this package raises."""

    exit_status = 1
    report: Any = None
    """The `Report` of the run, if one had begun; typed Any, since this module imports none of the package."""

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel between processes, and those of subclasses take other arguments than their message.
        return _again, (type(self), self.args), self.__dict__


class JobError(DownloadError, ValueError):
    """The job is invalid: an unknown key, asset or band, a region outside the image, too little memory."""

    exit_status = 2

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        """The mistake and what to write instead, without the key."""
        self.key = key
        """Dotted key of the job file that is wrong, such as `region.bbox`; None where it is no single key."""
        self.where = ""
        """File and line of the key, or the `--set` that gave it, once the job file is known."""

    def __str__(self) -> str:
        # A `--set` names the key already.
        key = "" if self.key is None or self.where == f"--set {self.key}" else self.key
        return ": ".join(part for part in (self.where, key, self.message) if part)


class MissingExtraError(JobError):
    """A feature needs a package that is not installed; the message says how to install it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed: pip install 'earthengine-downloader[{extra}]'"
        )


class IncompleteError(DownloadError):
    """The run finished, but some tiles failed; the report lists them and a rerun tries just those."""

    exit_status = 3


class StoppedError(DownloadError):
    """No tile can succeed now (quota, outage, full disk, a limit of the job). All is saved; a rerun continues."""

    exit_status = 4


class RefusedError(DownloadError):
    """The target is no mosaic of this package, cannot be written, or was made by a newer version."""

    exit_status = 5


class LockedError(RefusedError):
    """Another run holds this mosaic."""


class DriftError(RefusedError):
    """The mosaic was made by a job that means something else; the message holds the differences."""


class AuthenticationError(DownloadError):
    """Credentials are missing, malformed or not authorised (HTTP 401, or 403 on a metadata request)."""

    exit_status = 6


class InterruptionError(DownloadError):
    """SIGINT or SIGTERM ended the run; what could finish in time was finished, all is saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_status = 128 + signal_number


class InterruptedRunError(_Readable, KeyboardInterrupt):
    """An interrupt ended a call; what could finish in time was finished, all is saved. `except Exception` does not catch it."""

    exit_status = 130
    report: Any = None
    """The `Report` of the run, if one had begun."""


class Action(enum.Enum):
    """Consequence of an answer of the service (docs/contract.md §6.2)."""

    RETRY = "retry"
    """Try again after a jittered wait."""
    SLOW = "slow"
    """Try again, and everybody slows down."""
    SPLIT = "split"
    """Too much at once: ask for the halves."""
    FAIL_TILE = "fail tile"
    """Record these pixels as failed and go on."""
    FAIL_ASSET = "fail asset"
    """Record all pixels of this image as failed and go on with others."""
    FAIL_JOB = "fail job"
    """Nothing can succeed: end the job."""


class Cause(enum.StrEnum):
    """Cause of a request without pixels: the stable names by which reports and ledgers count."""

    # Answers of the service, by status.
    REQUEST_SIZE = "400 request size"
    GRID_DIMENSIONS = "400 grid dimensions"
    MEMORY = "400 memory"
    TIMED_OUT = "400 timed out"
    UNKNOWN_BAND = "400 unknown band"
    MALFORMED_REQUEST = "400 malformed request"
    PAYLOAD_SIZE = "payload size"
    ASSET_NOT_FOUND = "asset not found"
    ASSET_CHANGED = "asset changed"
    BAD_REQUEST = "400"
    TOKEN_RENEWED = "401 renewed"  # noqa: S105  # no password
    """The access token had expired; the request is repeated with a new one."""
    UNAUTHENTICATED = "401"
    NO_CREDENTIALS = "401 no credentials"
    SERVICE_DISABLED = "403 service disabled"
    USER_PROJECT_DENIED = "403 user project denied"
    NOT_REGISTERED = "403 project not registered"
    NO_COMPUTATIONS = "403 no computations"
    SCOPE = "403 scope"
    ASSET_DENIED = "403 asset"
    FRONT_END = "403 front end"
    FORBIDDEN_RATE = "403 rate"
    FORBIDDEN = "403"
    NO_METHOD = "no such method"
    PROXY_LOGIN = "407 proxy"
    TRY_AGAIN = "try again"
    CONCURRENCY = "429 concurrency"
    RATE = "429 rate"
    INTERNAL = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    REDIRECT = "redirect"
    UNEXPECTED_STATUS = "unexpected status"
    # Answers of the service, whatever their status.
    DAILY_QUOTA = "daily quota"
    MONTHLY_QUOTA = "monthly quota"
    CUSTOM_QUOTA = "custom quota"
    OUTPUT_SIZE = "output size"
    REPROJECTION_SIZE = "reprojection size"
    MEMORY_CAPACITY = "memory capacity"
    AGGREGATIONS = "aggregations"
    EMPTY_COLLECTION = "empty collection"
    NO_PROJECT = "no project"
    PROJECT_NOT_FOUND = "project not found"
    # Success without the pixels asked for.
    JSON_ANSWER = "JSON under 200"
    HTML_ANSWER = "HTML under 200"
    BAD_NPY = "bad NPY"
    # No whole answer.
    NO_CONNECTION = "no connection"
    NO_ADDRESS = "no address"
    CERTIFICATE = "certificate"
    TLS = "TLS"
    PROXY = "proxy"
    IDLE_CONNECTION = "idle connection"
    """A kept connection had been closed by the other side before the request was sent on it."""
    RESET = "reset"
    SHORT_BODY = "short body"
    NO_FIRST_BYTE = "no first byte"
    STALLED = "stalled"
    TOO_SLOW = "too slow"
    TOO_LARGE = "too large"
    BAD_ENCODING = "bad encoding"
    NOT_HTTP = "not HTTP"
    BAD_URL = "bad URL"
    # Not asked at all.
    CREDENTIALS = "credentials"
    NO_TOKEN = "no token"  # noqa: S105  # no password
    """The token endpoint gives none at the moment."""
    CANCELLED = "cancelled"
    """Cancelled on this side; says nothing about the service."""
    SPLIT_AHEAD = "split ahead"
    NO_IMAGE = "no image"

    @property
    def never_arrived(self) -> bool:
        """True where no request reached the service: no traffic, and nothing that one tile could do about."""
        return self in {Cause.NO_CONNECTION, Cause.NO_ADDRESS, Cause.NO_TOKEN}


MAY_BE_CHARGED: Final = frozenset(
    {
        Cause.BAD_GATEWAY,
        Cause.GATEWAY_TIMEOUT,
        Cause.JSON_ANSWER,
        Cause.HTML_ANSWER,
        Cause.BAD_NPY,
        Cause.RESET,
        Cause.SHORT_BODY,
        Cause.NO_FIRST_BYTE,
        Cause.STALLED,
        Cause.TOO_SLOW,
        Cause.TOO_LARGE,
        Cause.BAD_ENCODING,
    }
)
"""Causes with which the service may have computed the pixels all the same; what it refuses, it does not charge."""


@dataclass(frozen=True, slots=True)
class FetchProblem:
    """The reason why one request brought no pixels, as a value that reports and ledgers keep."""

    action: Action
    """Consequence for the run."""
    cause: Cause
    message: str
    """One readable line, the service's own words where it had any; never a secret."""
    status: int | None = None
    """HTTP status; None where no answer came."""
    retry_after_s: float | None = None
    """Seconds that the service asked to wait; None if it did not say."""
    limit: str = "concurrency"
    """For `Action.SLOW`: what was exceeded, `concurrency` or `rate`."""
    ends_with: type[DownloadError] = StoppedError
    """For `Action.FAIL_JOB`: the exception that ends the job."""
    split_after: int | None = None
    """Number of times that a request may meet this problem before it is split; None for never."""

    def become(self, action: Action) -> FetchProblem:
        """Return the same problem with another consequence."""
        return replace(self, action=action)


class TileError(DownloadError):
    """One request brought no pixels; raised by a `PixelSource`, turned into an Outcome by the worker."""

    def __init__(self, problem: FetchProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def exit_status(error: BaseException) -> int:
    """Return the exit status of the command line for `error`."""
    return error.exit_status if isinstance(error, DownloadError | InterruptedRunError) else 1


def first_of(error: BaseException) -> BaseException:
    """Return the error that matters in a group of exceptions: the first of this package, else the first."""
    while isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(DownloadError)
        error = (ours or error).exceptions[0]
    return error


def is_exhausted(error: BaseException) -> bool:
    """Return whether the machine, or a limit of this process, gave no more memory or no more threads."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_exhausted, error.exceptions))
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError | OSError)
        and any(words in str(error) for words in _EXHAUSTED)
    )


_EXHAUSTED = ("can't start new thread", "failed to map segment", "annot allocate memory")
"""Messages of the interpreter, the loader of libraries and the kernel."""


def asset_is_gone(error: DownloadError) -> bool:
    """Return whether the service said that the asset does not exist, or that these credentials may not read it."""
    cause = error.__cause__
    return isinstance(cause, TileError) and cause.problem.action is Action.FAIL_ASSET
