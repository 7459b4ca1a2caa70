"""Find credentials in files, variables or on the machine (`auth` of a job).

The chain is `GOOGLE_APPLICATION_CREDENTIALS` → the application-default sign-in → this machine's service account,
where it is one of Google's → the official client's saved token. Messages name the file that is wrong and the remedy,
never the file's contents.
"""

from __future__ import annotations

import json
import os
import stat
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from downloader.earthengine.auth.issuers import (
    SCOPE,
    CommandIssuer,
    GoogleIssuer,
    Issuer,
    MetadataIssuer,
    VariableIssuer,
)
from downloader.earthengine.auth.token_http import TokenRequest
from downloader.errors import AuthenticationError, JobError

METADATA_S: Final = 3.0
"""Seconds in which a metadata server must answer."""

_TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address
_MAX_FILE_BYTES: Final = 2**20

# The official client's OAuth client, published in its source for use by installed programs (RFC 8252 §8.5: such a
# "secret" is none). Tokens saved by that client can only be renewed in its name.
_EE_CLIENT_ID: Final = "517222506229-vsmmajv00ul0bs7p89v5m89qs8eb9359.apps.googleusercontent.com"
_EE_CLIENT_SECRET: Final = "RUP0RZ6e0pPhDzsqIJ7KlNd1"  # noqa: S105  # public, see above

_EE_SIGN_IN: Final = "run `earthengine authenticate`"

_NO_CREDENTIALS: Final = (
    "no credentials found: set auth.key_file to a service account's key file, or GOOGLE_APPLICATION_CREDENTIALS, "
    "or sign in with `gcloud auth application-default login` or `earthengine authenticate`"
)

_NOT_SIGNED_IN: Final = (
    "auth.application_default: none found; sign in with `gcloud auth application-default login` "
    "or set GOOGLE_APPLICATION_CREDENTIALS"
)


@dataclass(frozen=True, slots=True)
class FoundCredentials:
    """Credentials, and how messages describe them."""

    issuer: Issuer | None
    """None sends no credentials."""
    description: str
    """Such as `service account a@b.c (key file sa.json)`."""
    project: str | None = None
    """The project they belong to or name for quota."""
    warnings: tuple[str, ...] = ()
    """Lines that the user should see."""
    is_user: bool = False
    """Whether they are a person's: the service answers those only with a project named."""


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Credentials to use. Picklable as long as the value is."""

    kind: str = "chain"
    """`chain`, `key_file`, `application_default`, `earthengine`, `access_token_env`, `access_token_command`, `credentials` or
    `none`."""
    value: Any = field(default=None, repr=False)
    """For `key_file` its path, for `access_token_env` the variable's name, for `access_token_command` the words of
    the command, for `credentials` a google-auth object; else None."""

    def find(self) -> FoundCredentials:
        """Return the credentials; may read files, and ask the metadata address.

        Raises:
            AuthenticationError: there are none, or they cannot be used.
            JobError: there is no such kind.
        """
        match self.kind:
            case "chain":
                found, none = _application_default() or _saved_token(), _NO_CREDENTIALS
            case "application_default":
                found, none = _application_default(), _NOT_SIGNED_IN
            case "earthengine":
                found, none = (
                    _saved_token(),
                    f"auth.earthengine: {_saved_path()} holds no saved token; {_EE_SIGN_IN}",
                )
            case "key_file":
                return _key_file(Path(str(self.value)).expanduser())
            case "access_token_env":
                who = f"access token from the variable {self.value}"
                return FoundCredentials(VariableIssuer(self.value), who)
            case "access_token_command":
                return FoundCredentials(CommandIssuer(self.value), "access token from a command")
            case "credentials":
                return _given(self.value)
            case "none":
                return FoundCredentials(None, "no credentials")
            case _:
                raise JobError(f"no kind of credentials is called {self.kind!r}", key="auth")
        if found is None:
            raise AuthenticationError(none)
        return found


def _key_file(path: Path) -> FoundCredentials:
    """Return the credentials of a service account's key file."""
    info = _read(path, "make one for a service account in the Cloud console, IAM → Service accounts → Keys")
    kind = info.get("type")
    if kind != "service_account":
        raise AuthenticationError(
            f"key file {path}: its type is {str(kind)[:40]!r}, wanted a service account's key; other kinds go into "
            "GOOGLE_APPLICATION_CREDENTIALS"
        )
    return _loaded(path, info, f"key file {path.name}")


def _given(credentials: object) -> FoundCredentials:
    """Return credentials that a caller of the library made with google-auth."""
    from google.auth.credentials import with_scopes_if_required
    from google.oauth2.credentials import Credentials

    if not callable(getattr(credentials, "refresh", None)):
        raise AuthenticationError(
            f"auth: a {type(credentials).__name__} is no google-auth credentials object (it has no `refresh`)"
        )
    email = getattr(credentials, "service_account_email", None)
    who = f"credentials of {email}" if isinstance(email, str) and "@" in email else "credentials given"
    project = getattr(credentials, "project_id", None) or getattr(credentials, "quota_project_id", None)
    scoped = with_scopes_if_required(credentials, [SCOPE])  # type: ignore[no-untyped-call]
    is_user = isinstance(credentials, Credentials) and bool(credentials.refresh_token)
    return FoundCredentials(GoogleIssuer(scoped, who), who, _text(project), is_user=is_user)


def _application_default() -> FoundCredentials | None:
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return _any_file(Path(named).expanduser(), "GOOGLE_APPLICATION_CREDENTIALS")
    folder = Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser()
    path = folder / "application_default_credentials.json"
    if path.is_file():
        return _any_file(path, "application-default sign-in")
    return _metadata()


def _any_file(path: Path, origin: str) -> FoundCredentials:
    info = _read(path, f"{origin} names it" if origin.isupper() else "sign in again")
    return _loaded(path, info, f"{origin}, {path.name}" if info.get("type") == "service_account" else origin)


_NEEDED: Final = {"service_account": ("client_email", "private_key"), "authorized_user": ("refresh_token",)}
"""Kind of file → members that are checked here, as google-auth's own message would not help."""


def _loaded(path: Path, info: dict[str, Any], where: str) -> FoundCredentials:
    """Return the credentials that google-auth makes of a file; `where` names their origin in messages."""
    from google.auth import exceptions, load_credentials_from_dict
    from google.auth.credentials import with_scopes_if_required

    kind = str(info.get("type") or "credentials")
    for member in _NEEDED.get(kind, ()):
        if not _text(info.get(member)):
            raise AuthenticationError(
                f"{where}: {path} has no {member}: download the key again as JSON, or sign in again"
            )
    try:
        with warnings.catch_warnings():
            # google-auth warns of files that others supplied; this one is the user's.
            warnings.simplefilter("ignore", DeprecationWarning)
            # Without scopes, so that no project is looked up over the network; a user's sign-in keeps its own.
            unscoped, project = load_credentials_from_dict(  # type: ignore[no-untyped-call]
                {"token_uri": _TOKEN_URI, **info}, request=TokenRequest()
            )
        credentials = with_scopes_if_required(unscoped, [SCOPE])  # type: ignore[no-untyped-call]
    except (exceptions.GoogleAuthError, ValueError, TypeError, KeyError, ImportError) as error:
        raise AuthenticationError(
            f"{where}: google-auth cannot use {path} ({type(error).__name__}); is it a whole credentials file, with the line "
            "ends of a private_key as downloaded?"
        ) from None
    whose = info["client_email"] if kind == "service_account" else ""
    who = f"{kind.replace('_', ' ')[:40]} {whose}".rstrip() + f" ({where})"
    billed = _text(info.get("quota_project_id")) or project or _text(info.get("project_id"))
    issuer = GoogleIssuer(credentials, who)
    return FoundCredentials(issuer, who, billed, _readable(path), is_user=kind == "authorized_user")


def _saved_path() -> Path:
    return Path("~/.config/earthengine/credentials").expanduser()


def _saved_token() -> FoundCredentials | None:
    path = _saved_path()
    if not path.is_file():
        return None
    info = _read(path, _EE_SIGN_IN)
    if not _text(info.get("refresh_token")):
        return None  # signed in through application-default credentials, which were looked for before
    own = {name: text for name in ("client_id", "client_secret") if (text := _text(info.get(name)))}
    signed_in = {
        "type": "authorized_user",
        "client_id": _EE_CLIENT_ID,
        "client_secret": _EE_CLIENT_SECRET,
        **own,
        "refresh_token": info["refresh_token"],
        "scopes": info["scopes"] if isinstance(info.get("scopes"), list) else None,
        "project_id": info.get("project"),
    }
    return _loaded(path, signed_in, "saved token of the earthengine client")


def _metadata() -> FoundCredentials | None:
    """Return this machine's service account, if a metadata server answers one request within `METADATA_S`."""
    if os.environ.get("NO_GCE_CHECK", "").lower() == "true":
        return None
    from google.auth.exceptions import TransportError

    root = f"http://{os.environ.get('GCE_METADATA_HOST') or '169.254.169.254'}"
    ask, flavour = TokenRequest(METADATA_S), {"Metadata-Flavor": "Google"}
    try:
        answer = ask(f"{root}/computeMetadata/v1/project/project-id", headers=flavour)
    except TransportError:
        return None
    if answer.headers.get("metadata-flavor") != "Google":
        return None
    project = answer.data.decode("utf-8", "replace").strip() if answer.status == 200 else None
    return FoundCredentials(MetadataIssuer(root), "service account of this machine", project)


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        # Opening a pipe would wait for its writer.
        if not path.is_file():
            what = "cannot be read: it is no regular file;" if path.exists() else "does not exist:"
            raise AuthenticationError(f"credentials file {path} {what} {remedy}")
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        info = json.loads(content) if len(content) <= _MAX_FILE_BYTES else None
    except OSError as error:
        raise AuthenticationError(f"credentials file {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        info = None
    if not isinstance(info, dict):
        raise AuthenticationError(
            f"credentials file {path} is no JSON object as Google writes them: {remedy}"
        )
    return info


def _readable(path: Path) -> tuple[str, ...]:
    """Return a warning where every user of this machine can read the file."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return ()
    if not mode & stat.S_IROTH:
        return ()
    return (f"{path} can be read by everybody on this machine (mode {mode:04o}): chmod 600 {path}",)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
