"""Connections to buckets: from a URL and the environment to a store of obstore.

Credentials come from where each cloud's own tools look for them; none is kept here. Variables for compatible servers are
the usual ones (`docs/object-stores.md`).
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from downloader.errors import AuthenticationError, MissingExtraError
from downloader.job.location import BucketUrl
from downloader.mosaic.storage.bucket_errors import store_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig


_CLIENT: Final = (
    "allow_http", "allow_invalid_certificates", "connect_timeout", "http1_only", "http2_only", "pool_idle_timeout",
    "pool_max_idle_per_host", "proxy_ca_certificate", "proxy_excludes", "proxy_url", "read_timeout", "timeout", "user_agent",
)  # fmt: skip
"""Options of obstore's HTTP client; each is read from a variable such as AWS_TIMEOUT."""

_MEMORY: dict[str, ObjectStore] = {}
"""URL → objects that live as long as the process."""


def forget_memory(url: str) -> None:
    """Forget the objects of a `memory://` URL."""
    _MEMORY.pop(url, None)


def connect_bucket(url: BucketUrl, timeout_s: int, retry_s: int) -> ObjectStore:
    """Return the store of obstore below a URL.

    Args:
        url: the folder.
        timeout_s: seconds for one request.
        retry_s: seconds during which a failed request is repeated.

    Raises:
        AuthenticationError: no credentials were found.
        MissingExtraError: a library that the credentials need is not installed.
    """
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

    if url.scheme == "memory":
        return _MEMORY.setdefault(str(url), MemoryStore())
    retry: RetryConfig = {"max_retries": 10, "retry_timeout": timedelta(seconds=retry_s)}
    kind, settle, prefix = {
        "s3": (S3Store, _s3, "AWS"),
        "gs": (GCSStore, _gs, "GOOGLE"),
        "az": (AzureStore, _az, "AZURE"),
    }[url.scheme]
    settings = settle()
    # Not in `config`: a store that has them there can neither be compared nor pickled (obstore 0.12).
    client = {"timeout": f"{timeout_s}s", **settings.pop("client_options", {}), **_variables(prefix)}
    make: Any = kind
    try:
        store: ObjectStore = make(
            url.bucket, prefix=url.prefix, retry_config=retry, client_options=client, **settings
        )
    except BaseError as error:
        problem = store_error(error, str(url), "")
        if isinstance(problem, OSError):
            raise AuthenticationError(f"{url}: {problem.strerror}") from None
        raise problem from None
    return store


def _variables(prefix: str) -> dict[str, str]:
    """Return options of the HTTP client from the environment, which obstore ignores once other options are given."""
    found = ((name, os.environ.get(f"{prefix}_{name.upper()}")) for name in _CLIENT)
    return {name: value for name, value in found if value}


def _plain_http(*variables: str) -> dict[str, str]:
    """Allow plain HTTP where a variable that names the endpoint begins with http://."""
    if any(os.environ.get(name, "").startswith("http://") for name in variables):
        return {"allow_http": "true"}
    return {}


def _s3() -> dict[str, Any]:
    """Return settings that obstore does not read from the environment itself: profiles, through boto3."""
    settings: dict[str, Any] = {
        "config": {},
        "client_options": _plain_http("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    }
    named = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")
    container = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if any(os.environ.get(name) for name in (*named, *container)):
        return settings
    profile = os.environ.get("AWS_PROFILE")
    home = Path("~/.aws").expanduser()
    files = (
        Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", home / "credentials")),
        Path(os.environ.get("AWS_CONFIG_FILE", home / "config")),
    )
    if not profile and not any(file.is_file() for file in files):
        return settings
    try:
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        if profile:
            raise MissingExtraError(f"The AWS profile {profile}", "s3") from error
        return settings
    from botocore.exceptions import BotoCoreError

    try:
        session = Session()
        found = session.get_credentials()
    except BotoCoreError as error:
        raise AuthenticationError(f"s3: {error}; look at AWS_PROFILE and at the files in ~/.aws") from None
    if found is not None:
        settings["credential_provider"] = Boto3CredentialProvider(session)
        if session.region_name:
            settings["config"].setdefault("region", session.region_name)
    return settings


def _gs() -> dict[str, Any]:
    """Return settings for an emulator, from the variable of Google's own client libraries."""
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if not emulator:
        return {"client_options": _plain_http("GOOGLE_BASE_URL")}
    base = emulator if "://" in emulator else f"http://{emulator}"
    # Unsigned, obstore would still ask for a token before it puts; an emulator takes any.
    return {
        "config": {"base_url": base, "bearer_token": "anonymous"},
        "client_options": {"allow_http": "true"},
    }


def _az() -> dict[str, Any]:
    """Return settings from the connection string that Azure's own tools read."""
    client = _plain_http("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = dict(re.findall(r"(\w+)=([^;]+)", text))
    names = {"AccountName": "account_name", "AccountKey": "account_key", "BlobEndpoint": "endpoint"}
    config = {key: parts[name] for name, key in names.items() if name in parts}
    if parts.get("BlobEndpoint", "").startswith("http://"):
        client["allow_http"] = "true"
    if account := config.get("account_name") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
        # Given, not found: a store that found it itself can neither be shown nor pickled (obstore 0.12).
        config["account_name"] = account
    return {"config": config, "client_options": client}
