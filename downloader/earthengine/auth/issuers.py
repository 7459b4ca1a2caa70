"""Issuers of access tokens: each makes one blocking call in a worker thread, and has two kinds of failures."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from downloader.earthengine.auth.token_http import TokenRequest
from downloader.earthengine.redact import readable
from downloader.errors import AuthenticationError

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

_COMMAND_S: Final = 30.0
_SKEW_S: Final = 60.0
"""Seconds by which the clock may be off before a refused token is explained by it."""


class TokenUnreachableError(AuthenticationError):
    """No token now, for a reason that may pass: the endpoint is down, slow, or answers nonsense."""


class TokenUnchangedError(AuthenticationError):
    """There is no other token than the one refused."""


@dataclass(frozen=True, slots=True)
class Token:
    """An access token."""

    text: str = field(repr=False)
    lifetime_s: float | None = None
    """Seconds from its issue until it expires; None where this is not known."""

    def __post_init__(self) -> None:
        if not self.text or not self.text.isascii() or any(not "!" <= c <= "~" for c in self.text):
            raise AuthenticationError(
                "the access token given is empty or holds white space or control characters; "
                "it must be the bare token, without 'Bearer' and quotes"
            )


class Issuer(Protocol):
    """A source of access tokens."""

    def issue(self, refused: str | None) -> Token:
        """Return a token other than `refused`, which the service did not accept.

        Raises:
            TokenUnreachableError: trying again may help.
            AuthenticationError: it will not.
        """
        ...


@dataclass(frozen=True, slots=True)
class GoogleIssuer:
    """Any google-auth credentials: service accounts, saved sign-ins, federated identities, a caller's own."""

    credentials: Any = field(repr=False)
    """A google-auth object."""
    who: str
    """Its name in messages."""

    def issue(self, refused: str | None) -> Token:
        """Return a token other than `refused`."""
        from google.auth import exceptions

        credentials, request = self.credentials, TokenRequest()
        if not credentials.valid or credentials.token == refused:
            try:
                credentials.refresh(request)
            except exceptions.RefreshError as error:
                raise self._refused(error, request.skew_s) from None
            except exceptions.TransportError as error:
                raise TokenUnreachableError(f"{self.who}: no token: {readable(str(error))}") from None
            except (exceptions.GoogleAuthError, ImportError) as error:
                raise AuthenticationError(f"{self.who}: {readable(str(error))}") from None
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
                # What google-auth makes of an answer with status 200 that is no token.
                raise TokenUnreachableError(
                    f"{self.who}: the token endpoint's answer makes no sense ({type(error).__name__})"
                ) from None
        if credentials.token is None:
            raise AuthenticationError(f"{self.who}: these credentials bring no token")
        if not isinstance(credentials.token, str):
            raise TokenUnreachableError(f"{self.who}: the token endpoint's answer makes no sense")
        if credentials.expiry is None:
            return Token(credentials.token)
        # google-auth gives UTC without a time zone.
        left = credentials.expiry - datetime.now(UTC).replace(tzinfo=None)
        return Token(credentials.token, left.total_seconds())

    def _refused(self, error: Exception, skew_s: float | None) -> AuthenticationError:
        from google.auth.exceptions import ReauthFailError

        details = error.args[1] if len(error.args) > 1 else None
        words = readable(str(error.args[0]) if error.args else "", 200)
        hints = [hint for sign, hint in _HINTS if sign in words][:1]
        said = isinstance(details, dict) and "error" in details
        if getattr(error, "retryable", False) or not (said or hints or isinstance(error, ReauthFailError)):
            return TokenUnreachableError(f"{self.who}: no token: {words or 'an empty refusal'}")
        if skew_s is not None and abs(skew_s) > _SKEW_S:
            way = "ahead of" if skew_s > 0 else "behind"
            hints = [f"This machine's clock is {abs(skew_s):.0f} s {way} the token server's: set it right."]
        told = [f"{self.who}: no token is given: {words.rstrip('.')}.", *hints]
        return AuthenticationError(" ".join(told))


_HINTS: Final = (
    ("Invalid JWT Signature", "The key was deleted or belongs to another account: make a new key file."),
    ("reasonable timeframe", "Is this machine's clock right?"),
    ("iat", "Is this machine's clock right?"),
    ("account not found", "The service account does not exist any more: make a new one, with a key file."),
    ("Invalid grant: account", "The service account does not exist any more: make a new one, with a key file."),
    ("Invalid JWT", "Is this machine's clock right, and the key file the newest?"),
    ("invalid_grant", "The saved sign-in expired or was revoked: sign in again. Is this machine's clock right?"),
    ("invalid_client", "The saved sign-in belongs to an OAuth client that does not exist any more: sign in again."),
    ("do not contain the necessary fields", "The token expired and cannot be renewed: give a fresh one."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VariableIssuer:
    """A token that somebody else put into an environment variable."""

    variable: str

    def issue(self, refused: str | None) -> Token:
        """Return a token other than `refused`."""
        text = os.environ.get(self.variable, "").strip()
        if not text:
            raise AuthenticationError(f"auth.access_token_env: the variable {self.variable} is not set")
        if text == refused:
            raise TokenUnchangedError(
                f"the access token in {self.variable} expired or is not accepted; tokens last an hour: "
                "set a fresh one and run the job again, or use a key file"
            )
        return Token(text)


@dataclass(frozen=True, slots=True)
class CommandIssuer:
    """A command that prints a token, such as `gcloud auth print-access-token`; run without a shell."""

    words: Sequence[str] = field(repr=False)

    def issue(self, refused: str | None) -> Token:
        """Return a token other than `refused`."""
        name = Path(self.words[0]).name
        key = f"auth.access_token_command: {name}"
        try:
            done = subprocess.run(  # noqa: S603  # the user's own command, from the user's own job file
                self.words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise TokenUnreachableError(f"{key} did not end within {_COMMAND_S:g} s") from None
        except OSError as error:
            raise AuthenticationError(f"{key} cannot be run: {error.strerror}") from None
        if done.returncode != 0:
            said = readable(done.stderr.decode("utf-8", "replace"), 160)
            raise TokenUnreachableError(f"{key} ended with {done.returncode}: {said}")
        text = done.stdout.decode("utf-8", "replace").strip()
        if text and text == refused:
            raise TokenUnchangedError(f"{key} prints a token that is not accepted")
        return Token(text)


@dataclass(frozen=True, slots=True)
class MetadataIssuer:
    """The service account of the machine, where it is one of Google's."""

    root: str
    """Base URL of the metadata server."""

    def issue(self, refused: str | None) -> Token:  # noqa: ARG002  # the server renews by itself
        """Return a token other than `refused`."""
        from google.auth.exceptions import TransportError

        url = f"{self.root}/computeMetadata/v1/instance/service-accounts/default/token?scopes={SCOPE}"
        try:
            answer = TokenRequest()(url, headers={"Metadata-Flavor": "Google"})
        except TransportError as error:
            raise TokenUnreachableError(f"metadata server: no token: {readable(str(error))}") from None
        if answer.status != 200:
            raise AuthenticationError(
                f"metadata server: no token (status {answer.status}): has this machine a service account with the "
                "cloud-platform scope?"
            )
        try:
            document = json.loads(answer.data)
            return Token(document["access_token"], float(document["expires_in"]))
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            raise TokenUnreachableError("metadata server: its answer makes no sense") from None
