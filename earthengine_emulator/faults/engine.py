"""Faults on demand: named, seeded, bounded in number; which one strikes a request, and what then is answered."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from earthengine_emulator.faults import body
from earthengine_emulator.faults import spec as faultspec
from earthengine_emulator.faults.spec import Spec
from earthengine_emulator.server import errors
from earthengine_emulator.server.errors import ApiError
from earthengine_emulator.server.replies import Reply, document, failure
from earthengine_emulator.server.settings import Settings
from earthengine_emulator.server.statistics import Record

HTML: Final = "text/html; charset=UTF-8"
ON_THE_WIRE: Final = frozenset(
    (
        *("refuse", "reset-before-headers", "reset-in-headers", "reset-after-headers", "reset-in-body"),
        *("short-body", "cut-chunked", "stall-before-headers", "stall-after-headers", "stall-in-body"),
        *("drip", "close-after", "chunked"),
    )
)
"""Faults of how an answer is sent, not of what it is; `wire.py` does them."""
HARMLESS: Final = frozenset(
    (
        *("restricted", "gzip", "chunked", "close-after", "drip"),
        *("stall-before-headers", "stall-after-headers", "stall-in-body"),
    )
)
"""Faults after which a patient client has the good answer."""


def page(status: int, phrase: str) -> Reply:
    """The kind of page that front ends answer with."""
    text = (
        f"<!DOCTYPE html>\n<html lang=en>\n<title>Error {status} ({phrase})!!1</title>\n<style>*{{margin:0}}</style>\n"
        f"<p><b>{status}.</b> <ins>That is an error.</ins>\n<p>The server encountered a temporary error and could not "
        "complete your request.<p>Please try again in 30 seconds. <ins>That is all we know.</ins>\n</html>\n"
    )
    return Reply(status, text.encode(), HTML)


@dataclass(slots=True)
class Strike:
    """One fault about to befall one request."""

    spec: Spec

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.spec.fault

    @property
    def on_the_wire(self) -> bool:
        """Whether the fault lies in how the answer is sent."""
        return self.name in ON_THE_WIRE

    @property
    def leaves_whole(self) -> bool:
        """Whether the good answer arrives in spite of it."""
        return self.name in HARMLESS

    def parameter(self, name: str) -> float:
        """A numeric parameter."""
        return float(self.spec.parameters[name])


@dataclass(slots=True)
class _Active:
    """A fault with its history."""

    spec: Spec
    dice: random.Random
    matched: int = 0
    struck: int = 0

    def strikes(self, record: Record) -> bool:
        """Whether it strikes this request; counts it when it is one it may strike."""
        spec = self.spec
        if not spec.matches(record.method, record.resource, record.bands, record.size, record.window):
            return False
        self.matched += 1
        if spec.times is not None and self.struck >= spec.times:
            return False
        if self.matched <= spec.skip or (self.matched - spec.skip - 1) % spec.every:
            return False
        if spec.probability < 1 and self.dice.random() >= spec.probability:
            return False
        self.struck += 1
        return True


@dataclass(slots=True)
class Faults:
    """The active faults of an emulator; the first in the list that strikes is the one that does."""

    settings: Settings
    expire_tokens: Callable[[], None]
    _given: list[dict[str, Any]] = field(default_factory=list)
    _active: list[_Active] = field(default_factory=list)

    def pick(self, record: Record) -> Strike | None:
        """The fault that strikes a request, noted in its record."""
        if self.settings.faults is not self._given:
            self.restart()
        for active in self._active:
            if active.strikes(record):
                record.fault = active.spec.fault
                return Strike(active.spec)
        return None

    def restart(self) -> None:
        """Begin anew with the faults of the settings: counts at nought, dice at the seed."""
        self._given = self.settings.faults
        self._active = [
            _Active(faultspec.parse(given), random.Random(f"{self.settings.seed}:{i}:{given['fault']}"))  # noqa: S311
            for i, given in enumerate(self._given)
        ]

    def answer(self, strike: Strike, record: Record, project: str) -> Reply | None:
        """What is answered in place of the service's answer; None where that is kept, changed or sent otherwise."""
        name, parameters = strike.name, strike.spec.parameters
        if name == "expire-tokens":
            self.expire_tokens()
            return failure(errors.invalid_credentials("ACCESS_TOKEN_EXPIRED"))
        if name == "redirect":
            return Reply(302, b"", HTML, {"Location": str(parameters["location"])})
        if name == "rate-403":
            reply = _old_style()
        elif name.startswith("html-") and name != "html-200":
            status = int(name.removeprefix("html-"))
            reply = page(
                status,
                {403: "Forbidden", 502: "Bad Gateway", 503: "Service Unavailable"}.get(status, "Error"),
            )
        elif name in _OTHER_REPLIES:
            return _OTHER_REPLIES[name]()
        elif (error := _error(name, parameters, record, project)) is not None:
            error.message = parameters.get("message") or error.message
            reply = failure(error)
        else:
            return None
        return _retry_after(reply, parameters)

    def change(self, strike: Strike, reply: Reply) -> Reply:
        """A good answer as a fault of its contents leaves it."""
        if strike.name == "restricted":
            reply.headers["x-earth-engine-quota-status"] = "parallelism_restricted=true"
            return reply
        if reply.status == 200 and strike.name in body.DAMAGES:
            return body.DAMAGES[strike.name](reply, strike.spec.parameters)
        return reply


def _old_style() -> Reply:
    """E19."""
    error = ApiError(403, "Rate Limit Exceeded").document()
    error["error"]["errors"] = [
        {"message": "Rate Limit Exceeded", "domain": "usageLimits", "reason": "rateLimitExceeded"}
    ]
    return document(error, 403)


def _grant_refused(description: str) -> Reply:
    return document({"error": "invalid_grant", "error_description": description}, 400)


_OTHER_REPLIES: Final[Mapping[str, Callable[[], Reply]]] = {
    "json-200": lambda: document(errors.internal_error().document()),
    "html-200": lambda: Reply(200, page(200, "OK").body, HTML),
    "empty-200": lambda: Reply(200, b"", "application/octet-stream"),
    "token-garbage": lambda: Reply(200, page(200, "OK").body, HTML),
    "token-empty": lambda: document({}),
    "token-signature": lambda: _grant_refused("Invalid JWT Signature."),
    "token-clock": lambda: _grant_refused(
        "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
        "Check your iat and exp values in the JWT claim."
    ),
}

_SIMPLE: Final[Mapping[str, tuple[int, str]]] = {
    "internal-500": (500, "An internal error has occurred."),
    "unavailable-503": (503, "The service is currently unavailable."),
    "deadline-504": (504, "Deadline exceeded."),
    "memory-400": (400, "User memory limit exceeded."),
    "timeout-400": (400, "Computation timed out."),
    "bad-request-400": (400, "The request cannot be served."),
}


def _error(name: str, parameters: Mapping[str, Any], record: Record, project: str) -> ApiError | None:
    """The error of contract §6.2 that a fault answers with."""
    if name in _SIMPLE:
        return ApiError(*_SIMPLE[name])
    if name == "too-large-400":
        width, height = record.size or (1, 1)
        counted = width * height * 3 * len(record.bands or ("",))
        return errors.request_too_large(counted, int(parameters["limit"]))
    makers: dict[str, Callable[[], ApiError]] = {
        "concurrency-429": errors.too_many_requests,
        "rate-429": lambda: errors.rate_exceeded(project, 6_000),
        "daily-429": lambda: errors.daily_compute_exceeded(project, 3_600),
        "unauthenticated-401": lambda: errors.invalid_credentials("ACCESS_TOKEN_EXPIRED"),
        "service-disabled-403": lambda: errors.service_disabled(project),
        "user-project-denied-403": lambda: errors.user_project_denied(project),
        "unregistered-403": lambda: errors.project_unregistered(project),
        "permission-403": lambda: errors.permission_denied("earthengine.assets.get", record.resource),
        "not-found-404": lambda: errors.asset_not_found(record.resource),
    }
    return makers[name]() if name in makers else None


def _retry_after(reply: Reply, parameters: Mapping[str, Any]) -> Reply:
    """A reply with the Retry-After header that the parameters ask for, in seconds or as a date."""
    if parameters.get("retry_after") is not None:
        reply.headers["Retry-After"] = str(parameters["retry_after"])
    if parameters.get("retry_after_date") is not None:
        when = datetime.now(UTC) + timedelta(seconds=float(parameters["retry_after_date"]))
        reply.headers["Retry-After"] = format_datetime(when, usegmt=True)
    return reply
