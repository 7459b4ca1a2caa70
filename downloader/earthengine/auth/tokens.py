"""Access tokens for all workers of an event loop, and the project that pays."""

from __future__ import annotations

import asyncio
import os
import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NoReturn, Self

import anyio
import anyio.to_thread

from downloader.earthengine.auth.find import AuthSettings, FoundCredentials
from downloader.earthengine.auth.issuers import Token, TokenUnchangedError, TokenUnreachableError
from downloader.earthengine.redact import hide
from downloader.errors import (
    Action,
    AuthenticationError,
    Cause,
    FetchProblem,
    JobError,
    StoppedError,
    TileError,
)
from downloader.flow.retry import RetryPolicy, Tries, repeat

if TYPE_CHECKING:
    from downloader.protocols import Clock


_POLICY: Final = RetryPolicy(retries=5, total_s=60.0)
"""Bounds of one renewal, its retries included."""

_APART_S: Final = 1.0
"""Least seconds between the starts of two calls for tokens."""

_ISSUE_S: Final = 40.0
"""Longest attempt in seconds, even if a thread hangs."""

_MUST_S: Final = 60.0
"""Seconds before its end from which on a token is renewed before it is used."""

_SOON_S: Final = 180.0
"""Seconds before its end from which on a token is renewed while it is used."""

_RENEWED_S: Final = 60.0
"""Seconds after a renewal in which a token has not expired."""

_TRIES: Final = 3
_TRIES_APART_S: Final = 2.0
"""Refusals that end the job, and their least distance in seconds, with no answer in between."""

_REFUSED: Final = "The credentials were refused, also after a refresh: sign in again, or check that the key was not deleted."

_PROJECT_VARIABLES: Final = ("EE_PROJECT_ID", "EE_PROJECT", "GOOGLE_CLOUD_PROJECT")
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{1,20}")


class TokenSource:
    """The current access token. Belongs to one event loop.

    A token is fetched once, renewed early, and renewed once however many ask. Calls for tokens follow each other at
    least a second apart.
    """

    def __init__(self, found: FoundCredentials, *, clock: Clock) -> None:
        self.found = found
        self._clock = clock
        self._token: Token | None = None
        self._soon = self._must = float("inf")
        self._flight: asyncio.Task[None] | None = None
        self._problem: FetchProblem | None = None
        """Problem of the last renewal; None if it succeeded."""
        self._failed_at = self._asked_at = float("-inf")
        self._is_accepted = False
        """Whether a request was answered with the token since it was last refused."""
        self._refusals = 0
        """Refusals, apart in time, since a request was last answered with any token."""
        self._refused_at = float("-inf")
        self._unchanged = ""
        """Message for a token that stays in use after it was refused; empty for others."""
        self.calls = 0
        """Number of calls made for tokens."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("tokens are not pickled: pickle AuthSettings, and open them where they are used")

    @classmethod
    async def open(cls, settings: AuthSettings, *, clock: Clock) -> Self:
        """Find the credentials, off the loop. No token is fetched yet. Raises AuthenticationError."""
        return cls(await anyio.to_thread.run_sync(settings.find, abandon_on_cancel=True), clock=clock)

    def renewal(self) -> asyncio.Task[None] | None:
        """Return the renewal to wait for before a request is sent.

        None where a token is at hand, and where none could be had a moment ago.
        """
        now = self._clock.now()
        if self.found.issuer is None or now < self._failed_at + _APART_S:
            return None
        if self._token is not None and now < self._must:
            if now >= self._soon:
                self._take_off()
            return None
        return self._take_off()

    async def token(self) -> str | None:
        """Return a token good for a while; None where none is to be sent.

        Raises:
            TileError: there is none, now or ever, as its problem says.
        """
        if (renewal := self.renewal()) is not None:
            await asyncio.wait([renewal])
        if self.found.issuer is None:
            return None
        if self._token is None or self._clock.now() >= self._must:
            raise TileError(
                self._problem or FetchProblem(Action.RETRY, Cause.NO_TOKEN, "the renewal was given up")
            )
        return self._token.text

    def accepted(self, text: str) -> None:
        """Note that a request was answered with this token."""
        if self._token is not None and text == self._token.text:
            self._is_accepted = True
            self._refusals = 0

    def refused(self, text: str, problem: FetchProblem) -> FetchProblem:
        """Note that a request with this token was answered with 401; return what follows from it.

        The token is renewed and the request repeated. A token that others are answered with, renewed not long ago, is not
        to blame: the answer is, and counts as a failure of its request. The job ends only where no request was answered
        with a renewed token, in three tries at least 2 s apart.
        """
        renewed = replace(
            problem, action=Action.RETRY, cause=Cause.TOKEN_RENEWED, ends_with=StoppedError, retry_after_s=0.0
        )
        now = self._clock.now()
        if self._token is None or text != self._token.text or now >= self._must:
            return renewed
        if self._is_accepted:
            self._is_accepted = False
            if now - self._refused_at < _RENEWED_S:
                return replace(problem, action=Action.RETRY, ends_with=StoppedError)
        if now - self._refused_at >= _TRIES_APART_S:
            self._refusals += 1
            self._refused_at = now
            if self._refusals >= _TRIES:
                advice = self._unchanged or _REFUSED
                return replace(problem, message=f"{problem.message} {advice}")
            wait_s = 0.0 if self._refusals == 1 else _TRIES_APART_S
        else:
            wait_s = _TRIES_APART_S
        self._soon = self._must = float("-inf")
        return replace(renewed, retry_after_s=wait_s)

    async def aclose(self) -> None:
        """Give up a renewal under way."""
        if self._flight is not None and not self._flight.done():
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _take_off(self) -> asyncio.Task[None]:
        # A task of its own: a worker that is cancelled must not take the others' token with it.
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._renew(self._token.text if self._token else None))
        return self._flight

    async def _renew(self, old: str | None) -> None:
        """Get a token. Never raises: a problem is kept for those who ask for the token."""
        tries = Tries(_POLICY, self._clock, random.Random())  # noqa: S311  # jitter, no secret

        def wait_after(error: TileError) -> float:
            return max(tries.wait_after(error), _APART_S)

        try:
            token = await repeat(lambda: self._issue(old), wait_after, self._clock)
        except TileError as error:
            message = error.problem.message
            if tries.calls > 1:
                message = f"{message} (gave up after {tries.calls} attempts)"
            self._problem = replace(error.problem, message=message)
            self._failed_at = self._clock.now()
            self._soon = self._clock.now() + 30.0
            return
        self._token, self._problem = token, None
        hide(token.text)
        self._is_accepted = False
        self._soon = self._must = float("inf")
        if token.lifetime_s is not None:
            ends = self._clock.now() + token.lifetime_s
            self._soon = ends - min(_SOON_S, token.lifetime_s / 2)
            self._must = ends - min(_MUST_S, token.lifetime_s / 4)

    async def _issue(self, old: str | None) -> Token:
        """Ask the issuer once, no earlier than a second after the last time. Raises TileError."""
        issuer = self.found.issuer
        assert issuer is not None  # noqa: S101  # callers looked
        if (early_s := self._asked_at + _APART_S - self._clock.now()) > 0:
            await self._clock.sleep(early_s)
        self._asked_at = self._clock.now()
        self.calls += 1
        try:
            with anyio.move_on_after(_ISSUE_S):
                return await anyio.to_thread.run_sync(issuer.issue, old, abandon_on_cancel=True)
        except TokenUnchangedError as error:
            # It may be good all the same: the service decides, in tries that are apart.
            assert self._token is not None  # noqa: S101  # it was refused
            self._unchanged = str(error)
            return self._token
        except TokenUnreachableError as error:
            raise TileError(FetchProblem(Action.RETRY, Cause.NO_TOKEN, str(error))) from error
        except AuthenticationError as error:
            problem = FetchProblem(
                Action.FAIL_JOB, Cause.CREDENTIALS, str(error), ends_with=AuthenticationError
            )
            raise TileError(problem) from error
        text = f"{self.found.description}: no token within {_ISSUE_S:g} s."
        raise TileError(FetchProblem(Action.RETRY, Cause.NO_TOKEN, text))

    def __repr__(self) -> str:
        return f"TokenSource({self.found.description})"


def resolve_project(explicit: str | None, found: FoundCredentials | None = None) -> str | None:
    """Return the project that pays: the job's, else the environment's, else the one that the credentials name.

    Raises:
        JobError: it cannot be a project's id.
    """
    candidates = {"service.project": explicit}
    candidates |= {name: os.environ.get(name) for name in _PROJECT_VARIABLES}
    candidates["the credentials' project"] = found.project if found else None
    origin, project = next(((name, one) for name, one in candidates.items() if one), ("", None))
    if project and not _PROJECT.fullmatch(project):
        raise JobError(
            f"{origin}: {project[:60]!r} is no Cloud project's id, which has 6 to 30 small letters, digits and dashes"
        )
    return project
