"""Bearer tokens and the token endpoint (docs/contract.md §2.3): real RS256 verification, opaque tokens that expire."""

from __future__ import annotations

import base64
import binascii
import json
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from earthengine_emulator.api import errors
from earthengine_emulator.server.keys import PROJECT, ServiceAccount

AUDIENCE: Final = "https://oauth2.googleapis.com/token"
"""The audience that official clients put into every assertion, wherever `token_uri` points."""
JWT_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
REFRESH_TOKEN: Final = "emulator-refresh-token"  # noqa: S105 - a fixture, documented as such
SKEW_S: Final = 300
LONGEST_S: Final = 3600
READ_SCOPES: Final = frozenset(
    f"https://www.googleapis.com/auth/{name}"
    for name in ("earthengine", "earthengine.readonly", "cloud-platform", "cloud-platform.read-only")
)


@dataclass(frozen=True, slots=True)
class Token:
    """A project and scopes that an access token stands for."""

    project: str
    """Project of the credentials, billed when a request names none."""
    expires: float
    """On the monotonic clock, in seconds; infinite for tokens given by flag."""
    scopes: frozenset[str] = READ_SCOPES


class GrantError(Exception):
    """A refusal of the token endpoint: 400 with an OAuth error body."""

    def __init__(self, description: str, error: str = "invalid_grant") -> None:
        super().__init__(description)
        self.document = {"error": error, "error_description": description}


class Authority:
    """Issues tokens and checks them."""

    def __init__(self, account: ServiceAccount, life_s: float) -> None:
        self.account = account
        self.life_s = life_s
        self._tokens: dict[str, Token] = {}

    def issue(
        self,
        project: str,
        life_s: float | None = None,
        text: str | None = None,
        scopes: frozenset[str] = READ_SCOPES,
    ) -> str:
        """Return a new token, or the given text made one."""
        token = text or f"ya29.emulator-{secrets.token_urlsafe(48)}"
        life = self.life_s if life_s is None else life_s
        self._tokens[token] = Token(project, time.monotonic() + life, scopes)
        return token

    def expire_all(self) -> None:
        """Expire every token issued so far, except those that never expire."""
        now = time.monotonic()
        self._tokens = {
            text: replace(token, expires=min(token.expires, now)) if math.isfinite(token.expires) else token
            for text, token in self._tokens.items()
        }

    def check(self, header: str | None, *, required: bool) -> Token:
        """Return the token of an Authorization header.

        Args:
            header: the header's value, None when absent.
            required: when False, a missing or unknown token counts as one of the test project.

        Raises:
            ApiError: 401 (E12, E13), or 403 when the token's scopes allow no read method.
        """
        scheme, _, text = (header or "").partition(" ")
        token = self._tokens.get(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            if not required:
                return Token(PROJECT, time.monotonic() + LONGEST_S)
            if header is None:
                raise errors.missing_credentials()
            raise errors.invalid_credentials("ACCESS_TOKEN_TYPE_UNSUPPORTED")
        if token.expires <= time.monotonic():
            raise errors.invalid_credentials("ACCESS_TOKEN_EXPIRED")
        if not token.scopes & READ_SCOPES:
            raise errors.insufficient_scope()
        return token

    def grant(self, form: Mapping[str, str], own_url: str) -> dict[str, Any]:
        """Return the token endpoint's success answer to a form.

        Args:
            form: fields of the request's body.
            own_url: this endpoint's URL, also accepted as audience.

        Raises:
            GrantError: with the description Google gives.
        """
        kind = form.get("grant_type")
        if kind == JWT_GRANT:
            claims = self._verify(form.get("assertion", ""), own_url)
            scopes = frozenset(str(claims.get("scope", "")).split())
            token = self.issue(self.account.project, scopes=scopes)
        elif kind == "refresh_token":
            if form.get("refresh_token") != REFRESH_TOKEN:
                raise GrantError("Bad Request")
            token = self.issue(self.account.project)
        else:
            raise GrantError(f"Invalid grant_type: {kind}", "unsupported_grant_type")
        return {"access_token": token, "expires_in": int(self.life_s), "token_type": "Bearer"}

    def _verify(self, assertion: str, own_url: str) -> dict[str, Any]:
        """Return the claims of a signed assertion of the account."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            head, body, signature = assertion.split(".")
            header, claims = json.loads(_unpadded(head)), json.loads(_unpadded(body))
            signed = _unpadded(signature)
            issuer, issued, expires = claims["iss"], float(claims["iat"]), float(claims["exp"])
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise GrantError("Invalid JWT: Failed to parse the assertion.") from None
        if header.get("alg") != "RS256":
            raise GrantError("Invalid JWT: alg must be RS256.")
        if issuer != self.account.email:
            raise GrantError("Invalid grant: account not found")
        try:
            self.account.private_key.public_key().verify(
                signed, f"{head}.{body}".encode(), PKCS1v15(), SHA256()
            )
        except InvalidSignature:
            raise GrantError("Invalid JWT Signature.") from None
        if claims.get("aud") not in (AUDIENCE, own_url):
            raise GrantError("Invalid JWT: Failed audience check.")
        now = time.time()
        if not (issued - SKEW_S <= now < expires + SKEW_S and expires - issued <= LONGEST_S):
            raise GrantError(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim."
            )
        if not claims.get("scope"):
            raise GrantError("Invalid OAuth scope or ID token audience provided.", "invalid_scope")
        return dict(claims)


def _unpadded(text: str) -> bytes:
    """Return bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
