"""Answers that are no success: the literal messages of contract §6.2, each built in one place.

Users' tools match on these strings, so they are copied to the letter; `…` in the contract is filled with the text that
Google's front ends are publicly known to send.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

STATUS_NAMES: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status to canonical status name (contract §6.1); one name per code is all the emulator sends."""

SERVICE: Final = "earthengine.googleapis.com"
_CREDENTIALS_HELP: Final = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


class ApiError(Exception):
    """An answer in the shape of contract §6.1."""

    def __init__(
        self, code: int, message: str, details: Sequence[Mapping[str, Any]] = (), status: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = list(details)
        self.status = status or STATUS_NAMES[code]

    def document(self) -> dict[str, Any]:
        """The JSON body; `details` is left out when there are none."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}


def error_info(reason: str, **metadata: str) -> dict[str, Any]:
    """A google.rpc.ErrorInfo."""
    info: dict[str, Any] = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
    }
    if metadata:
        info["metadata"] = metadata
    return info


def help_link(description: str, url: str) -> dict[str, Any]:
    """A google.rpc.Help with one link."""
    return {
        "@type": "type.googleapis.com/google.rpc.Help",
        "links": [{"description": description, "url": url}],
    }


def project_number(project: str) -> int:
    """The twelve-digit number by which the service's messages call a project; fixed for a project id."""
    return 100_000_000_000 + zlib.crc32(project.encode())


def invalid_argument(message: str) -> ApiError:
    """A 400 without details."""
    return ApiError(400, message)


def request_too_large(counted_bytes: int, limit: int) -> ApiError:
    """E1."""
    return ApiError(
        400, f"Total request size ({counted_bytes} bytes) must be less than or equal to {limit} bytes."
    )


def dimensions_too_large(width: int, height: int, limit: int) -> ApiError:
    """E2."""
    return ApiError(400, f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {limit}.")


def unknown_band(pattern: str, available: Sequence[str]) -> ApiError:
    """E5, and E6 in the same words."""
    return ApiError(
        400,
        f"Image.select: Band pattern '{pattern}' did not match any bands. "
        f"Available bands: [{', '.join(available)}]",
    )


def _violation(message: str, field: str) -> ApiError:
    violation = {"description": message}
    if field:
        violation["field"] = field
    detail = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
    return ApiError(400, message, [detail])


def unknown_field(name: str, at: str) -> ApiError:
    """E7; `at` is the path of the enclosing field, empty at the top."""
    place = f" at '{at}'" if at else ""
    return _violation(f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.', at)


def invalid_value(field: str, kind: str, value: str) -> ApiError:
    """E8; `kind` is the proto type in the parentheses, `value` is printed as given."""
    return _violation(f"Invalid value at '{field}' ({kind}), {value}", field)


def malformed_json(reason: str) -> ApiError:
    """A body that is no JSON object."""
    return ApiError(400, f"Invalid JSON payload received. {reason}")


def payload_too_large(limit: int) -> ApiError:
    """E9."""
    return ApiError(400, f"Request payload size exceeds the limit: {limit} bytes.")


def invalid_credentials(reason: str) -> ApiError:
    """E12; `reason` is ACCESS_TOKEN_EXPIRED or ACCESS_TOKEN_TYPE_UNSUPPORTED."""
    return ApiError(
        401,
        f"Request had invalid authentication credentials. {_CREDENTIALS_HELP}",
        [error_info(reason, service=SERVICE)],
    )


def missing_credentials() -> ApiError:
    """E13."""
    return ApiError(
        401,
        f"Request is missing required authentication credential. {_CREDENTIALS_HELP}",
        [error_info("CREDENTIALS_MISSING", service=SERVICE)],
    )


def insufficient_scope() -> ApiError:
    """A token whose scopes allow no read method (§2.3)."""
    return ApiError(
        403,
        "Request had insufficient authentication scopes.",
        [error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", service=SERVICE)],
    )


def service_disabled(project: str) -> ApiError:
    """E14."""
    number = project_number(project)
    url = f"https://console.developers.google.com/apis/api/{SERVICE}/overview?project={number}"
    return ApiError(
        403,
        f"Google Earth Engine API has not been used in project {number} before or it is disabled. "
        f"Enable it by visiting {url} then retry. If you enabled this API recently, wait a few minutes for the "
        "action to propagate to our systems and retry.",
        [
            help_link("Google developers console API activation", url),
            error_info("SERVICE_DISABLED", consumer=f"projects/{number}", service=SERVICE),
        ],
    )


def user_project_denied(project: str) -> ApiError:
    """E15."""
    url = f"https://console.developers.google.com/iam-admin/iam/project?project={project}"
    return ApiError(
        403,
        f"Caller does not have required permission to use project {project}. Grant the caller the "
        "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use "
        f"permission, by visiting {url} and then retry. Propagation of the new permission may take a few minutes.",
        [
            help_link("Google developer console IAM admin", url),
            error_info("USER_PROJECT_DENIED", consumer=f"projects/{project}", service=SERVICE),
        ],
    )


def project_unregistered(project: str) -> ApiError:
    """E16."""
    return ApiError(
        403,
        f"Project {project} is not registered to use Earth Engine. Visit "
        f"https://console.cloud.google.com/earth-engine/configuration?project={project} to register your project. "
        "See https://developers.google.com/earth-engine/guides/access for more details.",
    )


def permission_denied(permission: str, resource: str) -> ApiError:
    """E17 and E18."""
    return ApiError(
        403,
        f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
        [error_info("IAM_PERMISSION_DENIED", permission=permission, resource=resource)],
    )


def asset_not_found(name: str) -> ApiError:
    """E21."""
    return ApiError(404, f"Asset '{name}' does not exist or doesn't allow this operation.")


def project_not_found(project: str, status: int = 404) -> ApiError:
    """E22, whose status is not known."""
    return ApiError(status, f"Project 'projects/{project}' not found or deleted.")


def method_not_found(path: str) -> ApiError:
    """E23, in JSON."""
    return ApiError(404, f"Method not found: the requested URL {path} was not found on this server.")


def too_many_requests() -> ApiError:
    """E24."""
    return ApiError(
        429,
        "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded.",
    )


def rate_exceeded(project: str, per_minute: int) -> ApiError:
    """E25."""
    number = project_number(project)
    metric = "Number of read requests"
    return ApiError(
        429,
        f"Quota exceeded for quota metric '{metric}' and limit '{metric} per minute per user' of service "
        f"'{SERVICE}' for consumer 'project_number:{number}'.",
        [
            error_info(
                "RATE_LIMIT_EXCEEDED",
                consumer=f"projects/{number}",
                quota_limit="ReadRequestsPerMinutePerUser",
                quota_limit_value=str(per_minute),
                quota_location="global",
                quota_metric=f"{SERVICE}/read_requests",
                service=SERVICE,
            ),
            help_link(
                "Request a higher quota limit.", "https://cloud.google.com/docs/quotas/help/request_increase"
            ),
        ],
    )


def daily_compute_exceeded(project: str, limit_s: float) -> ApiError:
    """E26."""
    number = project_number(project)
    metric = "Earth Engine compute time (EECU-time) per day in seconds"
    return ApiError(
        429,
        f"Quota exceeded for quota metric '{metric}' and limit '{metric} per project' of service '{SERVICE}' "
        f"for consumer 'project_number:{number}'.",
        [
            error_info(
                "RATE_LIMIT_EXCEEDED",
                consumer=f"projects/{number}",
                quota_limit="DailyEecuUsageTimePerDayPerProject",
                quota_limit_value=f"{limit_s:g}",
                quota_location="global",
                quota_metric=f"{SERVICE}/daily_eecu_usage_time",
                service=SERVICE,
            )
        ],
    )


def internal_error() -> ApiError:
    """E27."""
    return ApiError(500, "An internal error has occurred.")
