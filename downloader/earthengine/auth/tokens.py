"""Access tokens for all workers: fetched once, renewed early, and renewed once however many ask."""

from __future__ import annotations

import asyncio
import os
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NoReturn, Self

import anyio
import anyio.to_thread

from downloader.earthengine.auth import find as credentials
from downloader.earthengine.auth.issuers import CommandIssuer, Token, TokenUnreachableError, VariableIssuer
from downloader.errors import AuthenticationError, JobError

if TYPE_CHECKING:
    from downloader.protocols import Clock

__all__ = ["AuthKind", "AuthSettings", "TokenSource", "TokenUnreachableError", "resolve_project"]

AuthKind = Literal[
    "chain", "key_file", "application_default", "earthengine", "access_token_env", "access_token_command",
    "credentials", "none",
]  # fmt: skip

_ATTEMPTS: Final = 6
_PATIENCE_S: Final = 60.0
"""One renewal, its retries included, takes no longer than about this."""

_ISSUE_S: Final = 40.0
"""One attempt takes no longer, even if a thread hangs."""

_MUST_S: Final = 60.0
"""A token that ends sooner is renewed before it is used."""

_SOON_S: Final = 180.0
"""A token that ends sooner is renewed beside its use."""

_PROJECT_VARIABLES: Final = ("EE_PROJECT_ID", "EE_PROJECT", "GOOGLE_CLOUD_PROJECT")
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Which credentials to use: a value, picklable as long as its own value is."""

    kind: AuthKind | str = "chain"
    value: object = field(default=None, repr=False)
    """For `key_file` its path, for `access_token_env` the variable's name, for `access_token_command` the command,
    for `credentials` a google-auth object; else None."""

    def find(self) -> credentials.Found:
        """The credentials; may read files, and ask the metadata address. Raises AuthenticationError, JobError."""
        match self.kind:
            case "chain":
                return credentials.chain()
            case "key_file":
                return credentials.key_file(str(self.value))
            case "application_default":
                return credentials.application_default()
            case "earthengine":
                return credentials.earth_engine()
            case "access_token_env":
                return credentials.Found(
                    VariableIssuer(str(self.value)), f"access token from the variable {self.value}"
                )
            case "access_token_command":
                return credentials.Found(CommandIssuer(self.value), "access token from a command")
            case "credentials":
                return credentials.given(self.value)
            case "none":
                return credentials.Found(None, "no credentials")
        raise JobError(f"no kind of credentials is called {self.kind!r}", key="auth")


class TokenSource:
    """The token of the moment. Belongs to one event loop."""

    def __init__(self, found: credentials.Found, *, clock: Clock) -> None:
        self._found = found
        self._clock = clock
        self._token: Token | None = None
        self._soon = self._must = float("inf")
        self._flight: asyncio.Task[None] | None = None

    def __reduce__(self) -> NoReturn:
        raise TypeError("tokens are not pickled: pickle AuthSettings, and open them where they are used")

    @classmethod
    async def open(cls, settings: AuthSettings, *, clock: Clock) -> Self:
        """Find the credentials, off the loop. No token is fetched yet. Raises AuthenticationError."""
        return cls(await anyio.to_thread.run_sync(settings.find, abandon_on_cancel=True), clock=clock)

    @property
    def project(self) -> str | None:
        """The project that the credentials themselves name."""
        return self._found.project

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines that the user should see."""
        return self._found.warnings

    @property
    def sends(self) -> bool:
        """Whether there are credentials at all."""
        return self._found.issuer is not None

    def describe(self) -> str:
        """Whose tokens these are, such as `service account a@b.c (key file sa.json)`."""
        return self._found.description

    async def token(self) -> str | None:
        """A token good for a while; None where none is to be sent.

        Raises:
            TokenUnreachableError: no token now, after bounded retries.
            AuthenticationError: no token ever.
        """
        if self._found.issuer is None:
            return None
        now = self._clock.now()
        if self._token is None or now >= self._must:
            await self._renewed()
        elif now >= self._soon:
            self._take_off()
        return self._token.text if self._token else None

    async def refresh(self, refused: str) -> str:
        """Another token than `refused`. One renewal serves all who ask meanwhile; a late one gets its result.

        Raises:
            TokenUnreachableError: no token now, after bounded retries.
            AuthenticationError: no token ever.
        """
        if self._found.issuer is None:
            raise AuthenticationError("there are no credentials to renew")
        if self._token is None or self._token.text == refused:
            await self._renewed()
        assert self._token is not None  # noqa: S101  # a renewal sets it or raises
        return self._token.text

    async def aclose(self) -> None:
        """Give up a renewal under way."""
        if self._flight is not None and not self._flight.done():
            self._flight.cancel()
            await asyncio.wait([self._flight])

    async def _renewed(self) -> None:
        # Shielded: a worker that is cancelled must not take the others' token with it.
        await asyncio.shield(self._take_off())

    def _take_off(self) -> asyncio.Task[None]:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._renew(self._token.text if self._token else None))
            self._flight.add_done_callback(_seen)
        return self._flight

    async def _renew(self, old: str | None) -> None:
        spent, attempt = 0.0, 0
        while True:
            attempt += 1
            began = self._clock.now()
            try:
                token = await self._issue(old)
                break
            except TokenUnreachableError as error:
                wait_s = random.uniform(0.0, min(0.5 * 2.0**attempt, 15.0))  # noqa: S311  # jitter, no secret
                # A clock that leapt meanwhile (a suspended machine) counts for one attempt, no more.
                spent += min(self._clock.now() - began, _ISSUE_S) + wait_s
                if attempt == _ATTEMPTS or spent > _PATIENCE_S:
                    self._soon = self._clock.now() + 30.0
                    raise TokenUnreachableError(f"{error} (gave up after {attempt} attempts)") from None
                await self._clock.sleep(wait_s)
        self._token = token
        if token.lifetime_s is None:
            self._soon = self._must = float("inf")
        else:
            ends = self._clock.now() + token.lifetime_s
            self._soon = ends - min(_SOON_S, token.lifetime_s / 2)
            self._must = ends - min(_MUST_S, token.lifetime_s / 4)

    async def _issue(self, old: str | None) -> Token:
        issuer = self._found.issuer
        assert issuer is not None  # noqa: S101  # callers looked
        with anyio.move_on_after(_ISSUE_S):
            return await anyio.to_thread.run_sync(issuer.issue, old, abandon_on_cancel=True)
        raise TokenUnreachableError(f"{self.describe()}: no token within {_ISSUE_S:g} s.")

    def __repr__(self) -> str:
        return f"TokenSource({self.describe()})"


def resolve_project(explicit: str | None, tokens: TokenSource | None = None) -> str | None:
    """The project that pays: the job's, else the environment's, else what the credentials name; None for theirs.

    Raises:
        JobError: it cannot be a project's id.
    """
    candidates = [("service.project", explicit)]
    candidates += [(name, os.environ.get(name)) for name in _PROJECT_VARIABLES]
    candidates.append(("the credentials' project", tokens.project if tokens else None))
    for origin, project in candidates:
        if project:
            if not _PROJECT.fullmatch(project):
                raise JobError(
                    f"{origin}: {project[:60]!r} is no Cloud project's id, which has 6 to 30 small letters, digits and dashes"
                )
            return project
    return None


def _seen(task: asyncio.Task[None]) -> None:
    """A renewal nobody waits for any more may fail in silence: the next one will say so."""
    if not task.cancelled():
        task.exception()
