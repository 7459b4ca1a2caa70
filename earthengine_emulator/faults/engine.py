"""Faults on demand: named, seeded, bounded in number; which one strikes a request, and what then is answered."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

from earthengine_emulator.api import errors
from earthengine_emulator.api import faults as faultspec
from earthengine_emulator.api.errors import ApiError
from earthengine_emulator.api.faults import Spec
from earthengine_emulator.api.record import Record
from earthengine_emulator.api.replies import Reply, document, failure
from earthengine_emulator.api.settings import Settings
from earthengine_emulator.faults import body

HTML: Final = "text/html; charset=UTF-8"
ON_THE_WIRE: Final = frozenset(
    (
        *("refuse", "reset-before-headers", "reset-in-headers", "reset-after-headers", "reset-in-body"),
        *(
            "short-body",
            "cut-chunked",
            "hang",
            "stall-before-headers",
            "stall-after-headers",
            "stall-in-body",
        ),
        *("drip", "close-after", "chunked"),
    )
)
"""Faults of how an answer is sent, not of what it is; `transport.py` does them."""
HARMLESS: Final = frozenset(
    (
        *("restricted", "gzip", "chunked", "close-after", "drip"),
        *("stall-before-headers", "stall-after-headers", "stall-in-body"),
    )
)
"""Faults after which a patient client has the good answer."""


def page(status: int, phrase: str) -> Reply:
    """Return the kind of page that front ends answer with."""
    text = (
        f"<!DOCTYPE html>\n<html lang=en>\n<title>Error {status} ({phrase})!!1</title>\n<style>*{{margin:0}}</style>\n"
        f"<p><b>{status}.</b> <ins>That is an error.</ins>\n<p>The server encountered a temporary error and could not "
        "complete your request.<p>Please try again in 30 seconds. <ins>That is all we know.</ins>\n</html>\n"
    )
    return Reply(status, text.encode(), HTML)


@dataclass(slots=True)
class Strike:
    """A fault that strikes one request."""

    spec: Spec

    @property
    def name(self) -> str:
        """The fault's name."""
        return self.spec.fault

    @property
    def on_the_wire(self) -> bool:
        """True: the fault lies in how the answer is sent."""
        return self.name in ON_THE_WIRE

    @property
    def leaves_whole(self) -> bool:
        """True: the good answer arrives in spite of it."""
        return self.name in HARMLESS

    def parameter(self, name: str) -> float:
        """Return a numeric parameter."""
        return float(self.spec.parameters[name])


@dataclass(slots=True)
class _Active:
    """A fault with its history."""

    spec: Spec
    dice: random.Random
    matched: int = 0
    struck: int = 0

    def strikes(self, record: Record) -> bool:
        """Return whether the fault strikes this request, and count a request that it may strike."""
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
        """Return the fault that strikes a request, noted in its record."""
        if self.settings.faults is not self._given:
            self.restart()
        for active in self._active:
            if active.strikes(record):
                record.fault = active.spec.fault
                return Strike(active.spec)
        return None

    def restart(self) -> None:
        """Start again with the faults of the settings: counts at zero, random numbers from the seed."""
        self._given = self.settings.faults
        self._active = [
            _Active(faultspec.parse(given), random.Random(f"{self.settings.seed}:{i}:{given['fault']}"))  # noqa: S311
            for i, given in enumerate(self._given)
        ]

    def answer(self, strike: Strike, record: Record, project: str) -> Reply | None:
        """Return the reply that replaces the service's; None where that is kept, changed or sent otherwise."""
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
            error.message = parameters["message"] or error.message
            if parameters["status"] is not None:
                error = ApiError(int(parameters["status"]), error.message, error.details)
            reply = failure(error)
        else:
            return None
        return _retry_after(reply, parameters)

    def change(self, strike: Strike, reply: Reply) -> Reply:
        """Return a good answer as a fault of its contents leaves it."""
        if strike.name == "restricted":
            reply.headers["x-earth-engine-quota-status"] = "parallelism_restricted=true"
            return reply
        if reply.status == 200 and strike.name in body.DAMAGES:
            return body.DAMAGES[strike.name](reply, strike.spec.parameters)
        return reply


def _old_style() -> Reply:
    """Return E19: 403 with the old errors array."""
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
    "unavailable-503": (503, "The service is currently unavailable."),
    "deadline-504": (504, "Deadline exceeded."),
    "memory-400": (400, "User memory limit exceeded."),
    "timeout-400": (400, "Computation timed out."),
    "bad-request-400": (400, "The request cannot be served."),
}


def _error(name: str, parameters: Mapping[str, Any], record: Record, project: str) -> ApiError | None:
    """Return the error of docs/contract.md §6.2 that a fault answers with; None for other faults."""
    if name in _SIMPLE:
        return ApiError(*_SIMPLE[name])
    (width, height), bands = record.size or (1, 1), len(record.bands or ("",))
    if name == "too-large-400":
        return errors.request_too_large(3 * width * height * bands, int(parameters["limit"]))
    pixels = width * height
    makers: dict[str, Callable[[], ApiError]] = {
        "concurrency-429": errors.too_many_requests,
        "rate-429": lambda: errors.rate_exceeded(project, 6_000),
        "daily-429": lambda: errors.compute_quota_exceeded("daily"),
        "monthly-429": lambda: errors.compute_quota_exceeded("monthly"),
        "aggregations-429": errors.too_many_aggregations,
        "internal-500": errors.internal_error,
        "memory-capacity-503": errors.memory_capacity_exceeded,
        "output-too-large-400": lambda: errors.computation_too_large(
            bands, pixels, 8 * bands * pixels, 8 * pixels
        ),
        "reprojection-too-large-400": lambda: errors.reprojection_too_large(10_017, 10_017),
        "reproject-exceeds-400": errors.reproject_exceeds,
        "no-bands-400": lambda: errors.unknown_band((record.bands or ("B2",))[0], ()),
        "load-not-found-400": lambda: errors.image_not_found_old(record.resource),
        "sdk-project-403": lambda: errors.service_disabled("522309567947"),
        "quota-project-403": errors.quota_project_missing,
        "not-signed-up-403": errors.not_signed_up,
        "unauthenticated-401": lambda: errors.invalid_credentials("ACCESS_TOKEN_EXPIRED"),
        "service-disabled-403": lambda: errors.service_disabled(project),
        "user-project-denied-403": lambda: errors.user_project_denied(project),
        "unregistered-403": lambda: errors.project_unregistered(project),
        "permission-403": lambda: errors.permission_denied("earthengine.assets.get", record.resource),
        "not-found-404": lambda: errors.asset_not_found(record.resource),
    }
    return makers[name]() if name in makers else None


def _retry_after(reply: Reply, parameters: Mapping[str, Any]) -> Reply:
    """Return a reply with the Retry-After header that the parameters ask for, in seconds or as a date."""
    if parameters.get("retry_after") is not None:
        reply.headers["Retry-After"] = str(parameters["retry_after"])
    if parameters.get("retry_after_date") is not None:
        when = datetime.now(UTC) + timedelta(seconds=float(parameters["retry_after_date"]))
        reply.headers["Retry-After"] = format_datetime(when, usegmt=True)
    return reply
