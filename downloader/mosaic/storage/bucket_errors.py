"""Errors of object stores as errors of this package: credentials, permissions, a missing bucket, or a passing fault."""

from __future__ import annotations

import errno
import re
from typing import Final

from downloader.errors import AuthenticationError, DownloadError, RefusedError
from downloader.text import cut

_CODE: Final = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_WORDS: Final = re.compile(r"<Message>\s*([^<]*?)\s*</Message>", re.DOTALL)
_STATUS: Final = re.compile(r"status code: (\d{3}[^:\n]*)")
_TRIES: Final = re.compile(r"after (\d+) retries")
_ADDRESS: Final = re.compile(r"(https?://)(?:[^/\s@]*@)?([^\s?]*)(?:\?\S*)?")
_SHOWN: Final = 300

_NO_BUCKET: Final = {"NoSuchBucket", "ContainerNotFound", "ResourceNotFound", "InvalidBucketName"}
_NOT_KNOWN: Final = {
    "AuthenticationFailed", "AuthorizationHeaderMalformed", "ExpiredToken", "InvalidAccessKeyId", "InvalidAuthenticationInfo",
    "InvalidSecurity", "InvalidToken", "MissingSecurityHeader", "NoAuthenticationInformation", "RequestTimeTooSkewed",
    "SignatureDoesNotMatch", "TokenRefreshRequired",
}  # fmt: skip
"""Codes of S3, Google Cloud Storage and Azure for credentials that are missing, wrong or expired."""

# Where obstore looks for credentials when no variable names any.
_SOURCES: Final = (
    "169.254.169.254", "169.254.170", "metadata.google.internal", "login.microsoftonline.com", "oauth2.googleapis.com",
    "sts.", "Account must be specified", "MissingAccount", "MissingAccessKeyId", "MissingSecretAccessKey", "DecodeCredentials",
    "OpenCredentials", "MissingKey", "credential_provider", "CredentialProvider", "Unable to locate credentials",
)  # fmt: skip

_HOW: Final = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is attached",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, a SAS token or a client secret",
}


def store_error(error: BaseException, where: str, key: str) -> OSError | DownloadError:
    """Return the error to raise for an error of obstore.

    FileNotFoundError for an object that is missing, AuthenticationError, RefusedError for a bucket that is missing or
    not permitted, else an OSError with EIO. No secret is quoted: addresses lose their queries, which hold signatures.
    """
    text = str(error)
    code = _CODE.search(text)
    name = code.group(1) if code else ""
    scheme = where.partition("://")[0] if "://" in where else ""
    if name in _NO_BUCKET or (name == "" and "bucket does not exist" in text):
        return RefusedError(
            f"{where}: there is no such bucket ({_readable(text)}); create it first, or choose another"
        )
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "no such object", key)
    kind = type(error).__name__
    answered = _STATUS.search(text)
    status = answered.group(1)[:3] if answered else ""
    if (
        kind == "UnauthenticatedError"
        or status == "401"
        or name in _NOT_KNOWN
        or any(source in text for source in _SOURCES)
    ):
        return AuthenticationError(
            f"{where}: the store refused the credentials, or found none ({_readable(text)}); {_HOW.get(scheme, '')}"
        )
    if kind == "PermissionDeniedError" or status == "403":
        return RefusedError(
            f"{where}: may not be read or written with these credentials ({_readable(text)}); ask for the right to list,"
            " get, put and delete below it"
        )
    if kind == "NotSupportedError":
        return RefusedError(
            f"{where}: the store has no conditional puts ({_readable(text)}), so two runs could not be kept apart;"
            " choose another one"
        )
    return OSError(errno.EIO, _readable(text), f"{where}/{key}" if key else where)


def ambiguous(error: OSError) -> bool:
    """Return whether a request may have been carried out although it failed."""
    return error.errno == errno.EIO


def is_conflict(error: BaseException) -> bool:
    """Return whether a put failed because another request for the object was under way, and may simply be repeated."""
    return "ConditionalRequestConflict" in str(error) or "OperationAborted" in str(error)


def _readable(text: str) -> str:
    """Return one line: status and the store's own code and words; else obstore's first line without queries."""
    status, code, words = _STATUS.search(text), _CODE.search(text), _WORDS.search(text)
    tries = _TRIES.search(text)
    if status or code:
        parts = [status.group(1).strip() if status else "", code.group(1) if code else ""]
        told = " ".join(part for part in parts if part)
        if words and words.group(1):
            told += f": {' '.join(words.group(1).split())}"
    else:
        told = _ADDRESS.sub(r"\1\2", text.split("\n", 1)[0])
    if tries:
        told += f", after {tries.group(1)} retries"
    return cut(told, _SHOWN)
