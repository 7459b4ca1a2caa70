"""Error answers with the literal messages of docs/contract.md §6.2, each built in one place.

Tools match on these strings, so they are copied to the letter. `…` there is filled with the text that Google's front
ends are publicly known to send. E1 to E42 in docstrings are the rows of that section's table.
"""

from __future__ import annotations

import uuid
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
"""HTTP status to canonical status name (docs/contract.md §6.1); one name per code is all the emulator sends."""

SERVICE: Final = "earthengine.googleapis.com"
_CREDENTIALS_HELP: Final = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


class ApiError(Exception):
    """An answer in the shape of docs/contract.md §6.1."""

    def __init__(
        self, code: int, message: str, details: Sequence[Mapping[str, Any]] = (), status: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = list(details)
        self.status = status or STATUS_NAMES[code]

    def document(self) -> dict[str, Any]:
        """Return the JSON body; `details` is left out when there are none."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}


def error_info(reason: str, **metadata: str) -> dict[str, Any]:
    """Return a google.rpc.ErrorInfo."""
    info: dict[str, Any] = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
    }
    if metadata:
        info["metadata"] = metadata
    return info


def help_link(description: str, url: str) -> dict[str, Any]:
    """Return a google.rpc.Help with one link."""
    return {
        "@type": "type.googleapis.com/google.rpc.Help",
        "links": [{"description": description, "url": url}],
    }


def project_number(project: str) -> int:
    """Return the twelve-digit number by which the service's messages call a project; fixed for a project id."""
    return 100_000_000_000 + zlib.crc32(project.encode())


def invalid_argument(message: str) -> ApiError:
    """Return a 400 without details."""
    return ApiError(400, message)


def request_too_large(counted_bytes: int, limit: int) -> ApiError:
    """Return E1: the request's pixels take more bytes than one request may."""
    return ApiError(
        400, f"Total request size ({counted_bytes} bytes) must be less than or equal to {limit} bytes."
    )


def dimensions_too_large(width: int, height: int, limit: int) -> ApiError:
    """Return E2: the grid is too wide or too high."""
    return ApiError(400, f"Pixel grid dimensions ({width}x{height}) must be less than or equal to {limit}.")


def unknown_band(pattern: str, available: Sequence[str]) -> ApiError:
    """Return E5, in the same words E6, or E37 where the image has no bands at all."""
    if not available:
        return ApiError(400, f"Image.select: Band pattern '{pattern}' was applied to an Image with no bands.")
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
    """Return E7. `at` is the path of the enclosing field, empty at the top."""
    place = f" at '{at}'" if at else ""
    return _violation(f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.', at)


def invalid_value(field: str, kind: str, value: str) -> ApiError:
    """Return E8. `kind` is the proto type in the parentheses; `value` is printed as given."""
    return _violation(f"Invalid value at '{field}' ({kind}), {value}", field)


def malformed_json(reason: str) -> ApiError:
    """Return the answer to a body that is not a JSON object."""
    return ApiError(400, f"Invalid JSON payload received. {reason}")


def payload_too_large(limit: int) -> ApiError:
    """Return E9: the request's body is too long."""
    return ApiError(400, f"Request payload size exceeds the limit: {limit} bytes.")


def invalid_credentials(reason: str) -> ApiError:
    """Return E12. `reason` is ACCESS_TOKEN_EXPIRED or ACCESS_TOKEN_TYPE_UNSUPPORTED."""
    return ApiError(
        401,
        f"Request had invalid authentication credentials. {_CREDENTIALS_HELP}",
        [error_info(reason, service=SERVICE)],
    )


def missing_credentials() -> ApiError:
    """Return E13: the request has no token."""
    return ApiError(
        401,
        f"Request is missing required authentication credential. {_CREDENTIALS_HELP}",
        [error_info("CREDENTIALS_MISSING", service=SERVICE)],
    )


def insufficient_scope() -> ApiError:
    """Return the answer to a token whose scopes allow no read method (docs/contract.md §2.3)."""
    return ApiError(
        403,
        "Request had insufficient authentication scopes.",
        [error_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", service=SERVICE)],
    )


def service_disabled(project: str) -> ApiError:
    """Return E14: the API is not enabled in a project, which is named as the caller named it."""
    url = f"https://console.developers.google.com/apis/api/{SERVICE}/overview?project={project}"
    return ApiError(
        403,
        f"Google Earth Engine API has not been used in project {project} before or it is disabled. "
        f"Enable it by visiting {url} then retry. If you enabled this API recently, wait a few minutes for the "
        "action to propagate to our systems and retry.",
        [
            error_info("SERVICE_DISABLED", consumer=f"projects/{project}", service=SERVICE),
            help_link("Google developers console API activation", url),
        ],
    )


def user_project_denied(project: str) -> ApiError:
    """Return E15: the caller may not use a project."""
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
    """Return E16: a project is not registered for Earth Engine."""
    return ApiError(
        403,
        f"Project {project} is not registered to use Earth Engine. Visit "
        f"https://console.cloud.google.com/earth-engine/configuration?project={project} to register your project. "
        "See https://developers.google.com/earth-engine/guides/access for more details.",
    )


def permission_denied(permission: str, resource: str) -> ApiError:
    """Return E17 or E18: a permission is missing on an asset or a project."""
    return ApiError(
        403,
        f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
        [error_info("IAM_PERMISSION_DENIED", permission=permission, resource=resource)],
    )


def asset_not_found(name: str) -> ApiError:
    """Return E21: there is no such asset."""
    return ApiError(404, f"Asset '{name}' does not exist or doesn't allow this operation.")


def project_not_found(project: str, status: int = 404) -> ApiError:
    """Return E22: there is no such project. The service's status is not known."""
    return ApiError(status, f"Project 'projects/{project}' not found or deleted.")


def method_not_found(path: str) -> ApiError:
    """Return E23, in JSON: there is no such method."""
    return ApiError(404, f"Method not found: the requested URL {path} was not found on this server.")


def too_many_requests() -> ApiError:
    """Return E24: too many requests at once."""
    return ApiError(
        429,
        "Too Many Requests: Request was rejected because the request rate or concurrency limit was exceeded.",
    )


def rate_exceeded(project: str, per_minute: int) -> ApiError:
    """Return E25: too many requests within a minute."""
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


def compute_quota_exceeded(period: str, status: int = 429) -> ApiError:
    """Return E26: the compute time of a `daily` or `monthly` quota is used up. The service's status is not known."""
    return ApiError(
        status,
        f"Your usage exceeded the custom quota for '{SERVICE}/{period}_eecu_usage_time', which is adjustable by your "
        "administrator in the Google Cloud console: https://console.cloud.google.com/quotas/?project=_.",
    )


def internal_error() -> ApiError:
    """Return E27, with the id of a request as some of them have."""
    return ApiError(500, f"An internal error has occurred (request: {uuid.uuid4()})")


def computation_too_large(bands: int, pixels: int, counted_bytes: int, limit: int) -> ApiError:
    """Return E32: the values that a request computes take more memory than one request may."""
    return ApiError(
        400,
        f"Output of image computation is too large ({bands} bands for {pixels} pixels = "
        f"{counted_bytes / 2**20:.1f} MiB > {limit / 2**20:.1f} MiB).\n"
        "If this is a reduction, try specifying a larger 'tileScale' parameter.",
    )


def reprojection_too_large(width: int, height: int) -> ApiError:
    """Return E33: a reprojection within an expression needs too many pixels."""
    return ApiError(400, f"Reprojection output too large ({width}x{height} pixels).")


def too_many_pixels_to_reduce(found: int, most: int) -> ApiError:
    """Return the error of `reduceResolution` with too many input pixels to one of the output."""
    return invalid_argument(
        f"Image.reduceResolution: Too many input pixels per output pixel: {found}, but maxPixels allows only {most}."
    )


def reproject_exceeds() -> ApiError:
    """Return E34: `Image.reproject` asks for more than 2^31 pixels."""
    return ApiError(
        400, "Number of pixels requested from Image.reproject exceeds the maximum allowed (2^31)."
    )


def memory_capacity_exceeded() -> ApiError:
    """Return E35: the service as a whole is short of memory."""
    return ApiError(503, "Earth Engine memory capacity exceeded.")


def too_many_aggregations() -> ApiError:
    """Return E36: the caller runs too many aggregations at once."""
    return ApiError(429, "Too many concurrent aggregations.")


def image_not_found(id_: str) -> ApiError:
    """Return E10: an expression loads an image that is not there."""
    return ApiError(
        400, f"Image.load: Image asset '{id_}' not found (does not exist or caller does not have access)."
    )


def collection_not_found(id_: str) -> ApiError:
    """Return E10 for a collection."""
    return ApiError(
        400,
        f"ImageCollection.load: ImageCollection asset '{id_}' not found "
        "(does not exist or caller does not have access).",
    )


def image_not_found_old(id_: str) -> ApiError:
    """Return E38, the older form of E10."""
    return ApiError(400, f"Image.load: Image asset '{id_}' not found.")


def version_not_found(function: str, kind: str, id_: str, version: int) -> ApiError:
    """Return E42: an asset has no such version. Only the end of the service's text is known."""
    return ApiError(400, f"{function}: {kind} asset '{id_}' not found at version {version}.")


def not_signed_up() -> ApiError:
    """Return E39: neither the caller nor the project is registered."""
    return ApiError(
        403,
        "Not signed up for Earth Engine or project is not registered. "
        "Visit https://developers.google.com/earth-engine/guides/access",
    )


def quota_project_missing() -> ApiError:
    """Return E40: a person's credentials come without a project that pays."""
    return ApiError(
        403,
        "Your application is authenticating by using local Application Default Credentials. "
        f"The {SERVICE} API requires a quota project, which is not set by default. To learn how to set your quota "
        "project, see https://cloud.google.com/docs/authentication/adc-troubleshooting/user-creds .",
        [error_info("SERVICE_DISABLED", consumer="projects/764086051850", service=SERVICE)],
    )
