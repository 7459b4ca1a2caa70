"""The client: a call with credentials, project and time-outs, its answer checked against the error table."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from downloader.earthengine import error_table
from downloader.earthengine.auth.tokens import (
    AuthSettings,
    TokenSource,
    TokenUnreachableError,
    resolve_project,
)
from downloader.earthengine.names import HIGH_VOLUME, STANDARD, base_url, is_this_machine
from downloader.earthengine.timeouts import Timeouts
from downloader.earthengine.transport import Reply, Transport
from downloader.earthengine.wire_error import WireError
from downloader.errors import Action, AuthenticationError, FetchProblem, TileError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from types import TracebackType

    from tenacity import RetryCallState

    from downloader.protocols import Clock

__all__ = ["EarthEngine"]

T = TypeVar("T")

_VERSION: Final = "v1"
_MAX_DOCUMENT_BYTES: Final = 64 * 2**20
"""A catalogue document or a page of a listing is never larger."""

_METADATA: Final = Timeouts(first_byte_s=60.0, body_s=120.0)

_LONG_URL: Final = 2048
"""A longer GET is sent as a POST that says what it stands for, as the official client does (contract §1.2)."""

_ATTEMPTS: Final = 8
_MAX_WAIT_S: Final = 60.0


class EarthEngine:
    """Earth Engine's REST API for one project. Safe to use from many tasks of one event loop.

    `async with EarthEngine(…) as service:` closes connections and token renewal at the end.
    """

    def __init__(
        self,
        *,
        auth: AuthSettings | TokenSource,
        clock: Clock,
        standard: str = STANDARD,
        high_volume: str = HIGH_VOLUME,
        project: str | None = None,
        concurrency: int = 40,
        first_byte_s: float | None = None,
        timeouts: Timeouts | None = None,
        workload_tag: str | None = None,
        patience_s: float = 120.0,
    ) -> None:
        """Make a client; nothing is read or sent before its block is entered.

        Args:
            auth: credentials, or which to look for.
            clock: time.
            standard: base URL for metadata and computed pixels.
            high_volume: base URL for pixels of assets.
            project: Cloud project that pays; None takes the environment's, then the one the credentials name.
            concurrency: requests that may be under way at once.
            first_byte_s: wait of pixel requests for the answer's head; None is that of `timeouts`.
            timeouts: of pixel requests.
            workload_tag: labels pixel requests in the project's usage reports.
            patience_s: seconds that a call which the job cannot do without is repeated.

        Raises:
            JobError: a base URL that is none.
        """
        self.standard = base_url(standard)
        self.high_volume = base_url(high_volume)
        self.project = project
        """The project in use; settled when the block is entered."""
        self.timeouts = timeouts or Timeouts()
        if first_byte_s is not None:
            self.timeouts = self.timeouts.patient(first_byte_s)
        self.workload_tag = workload_tag
        self.restricted = False
        """Whether the service said that the project's parallelism is restricted (contract §2.2)."""
        self.on_restricted: Callable[[], None] | None = None
        """Called each time the service says so: only its silence tells that a restriction was lifted."""
        self.on_headers: Callable[[Mapping[str, str]], None] | None = None
        """Told the headers of each answer, their names in lower case."""
        self._auth = auth
        self._clock = clock
        self._patience_s = patience_s
        self._concurrency = concurrency
        self._emulator: str | None = None

    async def __aenter__(self) -> Self:
        auth = self._auth
        self._tokens = (
            await TokenSource.open(auth, clock=self._clock) if isinstance(auth, AuthSettings) else auth
        )
        self.project = resolve_project(self.project, self._tokens)
        self._transport = Transport(clock=self._clock, connections=self._concurrency)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transport.aclose()
        await self._tokens.aclose()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines about the credentials that the user should see."""
        hosts = {
            parts.hostname or ""
            for parts in map(urlsplit, (self.standard, self.high_volume))
            if parts.scheme == "http" and not is_this_machine(parts.hostname or "")
        }
        if not hosts or not self._tokens.sends:
            return self._tokens.warnings
        open_line = f"access tokens go unencrypted to {min(hosts)}: give service.endpoint an https address"
        return (*self._tokens.warnings, open_line)

    @property
    def credentials_in_use(self) -> str:
        """Whose credentials these are, such as `service account a@b.c (key file sa.json)`."""
        return self._tokens.describe()

    @property
    def service_identity(self) -> str:
        """Whose pixels these are: `earthengine`, `emulator DATASET` or `host:NAME`; settled by the first answer."""
        if self._emulator is not None:
            return f"emulator {self._emulator}".rstrip()
        parts = urlsplit(self.high_volume)
        host = parts.hostname or ""
        return "earthengine" if host.endswith(".googleapis.com") else f"host:{parts.netloc}"

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        base: str | None = None,
        version: str = _VERSION,
        subject: str = "",
    ) -> dict[str, Any]:
        """A JSON document the job cannot do without; repeated with growing waits while that may help.

        Args:
            method: GET or POST.
            path: resource name, with `:method` where one is meant; percent-encoded here.
            params: query parameters.
            body: sent as JSON.
            base: base URL; the standard one by default.
            version: of the API; listImages exists in `v1alpha` only.
            subject: what messages say this was about.

        Raises:
            DownloadError: whichever the error table says: JobError, AuthenticationError, StoppedError.
        """

        async def attempt() -> dict[str, Any]:
            url = self.url(base or self.standard, path, version=version, params=params)
            form = None
            if method == "GET" and params and len(url) > _LONG_URL:
                url, form = self.url(base or self.standard, path, version=version), params
            reply = await self.exchange(
                "POST" if form else method,
                url,
                body=body,
                overridden=form,
                max_bytes=_MAX_DOCUMENT_BYTES,
                timeouts=_METADATA,
            )
            try:
                document = json.loads(bytes(reply.body))
            except (ValueError, RecursionError):
                document = None
            # An error in a document's place would read as a document whose members are all at their defaults.
            if not isinstance(document, dict) or isinstance(document.get("error"), dict):
                raise TileError(error_table.unusable(reply, "no JSON object"))
            return document

        return await self.persist(attempt, subject)

    def url(
        self, base: str, path: str, *, version: str = _VERSION, params: Mapping[str, str] | None = None
    ) -> str:
        """The absolute URL of a resource, percent-encoded."""
        query = f"?{urlencode(params)}" if params else ""
        return f"{base}/{version}/{quote(path, safe='/:')}{query}"

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        body: Mapping[str, Any] | None = None,
        overridden: Mapping[str, str] | None = None,
        max_bytes: int,
        timeouts: Timeouts,
    ) -> Reply:
        """One call, made again only where credentials had run out. The answer has status 200.

        Args:
            method: GET or POST.
            url: absolute.
            body: sent as JSON.
            overridden: query of a GET that is too long for a URL, sent as a form by POST.
            max_bytes: ceiling for the answer's body.
            timeouts: what it may take.

        Raises:
            TileError: anything else came, or nothing; its problem says what to do.
        """
        reply = await self.ask(
            method, url, body=body, overridden=overridden, max_bytes=max_bytes, timeouts=timeouts
        )
        if reply.status != 200:
            raise TileError(error_table.failed(reply))
        return reply

    async def ask(
        self,
        method: str,
        url: str,
        *,
        body: Mapping[str, Any] | None = None,
        overridden: Mapping[str, str] | None = None,
        max_bytes: int,
        timeouts: Timeouts,
    ) -> Reply:
        """`exchange`, but with the answer whatever its status. Raises TileError: none came."""
        content, kind = None, {}
        if body is not None:
            content = json.dumps(body, separators=(",", ":")).encode()
            kind = {"content-type": "application/json"}
        elif overridden is not None:
            content = urlencode(overridden).encode()
            kind = {"content-type": "application/x-www-form-urlencoded", "x-http-method-override": "GET"}
        try:
            token = await self._tokens.token()
            reply = await self._send(method, url, token, kind, content, max_bytes, timeouts)
            if reply.status == 401 and token is not None:
                token = await self._tokens.refresh(token)
                reply = await self._send(method, url, token, kind, content, max_bytes, timeouts)
        except TokenUnreachableError as error:
            # Whoever cannot reach the token endpoint can't reach the service either, for this purpose.
            # An outage, and no word against who asks: it stops the job as one, resumable.
            problem = FetchProblem(Action.RETRY, error_table.UNREACHED, str(error))
            raise TileError(problem) from error
        except AuthenticationError as error:
            problem = FetchProblem(Action.FAIL_JOB, "credentials", str(error), ends_with=AuthenticationError)
            raise TileError(problem) from error
        except WireError as error:
            raise TileError(error_table.lost(error)) from error
        return reply

    async def persist(self, attempt: Callable[[], Awaitable[T]], subject: str = "") -> T:
        """What `attempt` returns, tried again while its `TileError` says that helps, within bounds.

        Raises:
            DownloadError: what ends the job, where it never came.
        """
        from tenacity import AsyncRetrying

        spent, looked = 0.0, self._clock.now()

        def hopeless(state: RetryCallState) -> bool:
            nonlocal spent, looked
            now = self._clock.now()
            # One attempt takes half of the patience at most: a machine that slept for an hour has not tried for one.
            spent, looked = spent + min(now - looked, self._patience_s / 2), now
            return state.attempt_number >= _ATTEMPTS or spent + _wait_s(state) > self._patience_s

        waits: dict[int, float] = {}

        def _wait_s(state: RetryCallState) -> float:
            return waits.setdefault(state.attempt_number, _jittered(state))

        retrying = AsyncRetrying(
            retry=_may_pass, wait=_wait_s, stop=hopeless, sleep=self._clock.sleep, reraise=True
        )

        async def awaited() -> (
            T
        ):  # tenacity awaits what it can see to be a coroutine function, and a lambda is none
            return await attempt()

        try:
            return await retrying(awaited)
        except TileError as error:
            raise error_table.ending(error.problem, subject) from error

    async def _send(
        self,
        method: str,
        url: str,
        token: str | None,
        kind: Mapping[str, str],
        content: bytes | None,
        max_bytes: int,
        timeouts: Timeouts,
    ) -> Reply:
        headers = dict(kind)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if self.project is not None:
            headers["x-goog-user-project"] = self.project
        reply = await self._transport.send(
            method, url, headers=headers, content=content, max_bytes=max_bytes, timeouts=timeouts
        )
        self._note(reply.headers)
        return reply

    def _note(self, headers: Mapping[str, str]) -> None:
        if self.on_headers is not None:
            self.on_headers(headers)
        emulator = headers.get("x-earth-engine-emulator")
        if emulator is not None:
            self._emulator = emulator.strip()[:100]
        if "parallelism_restricted=true" in headers.get("x-earth-engine-quota-status", ""):
            self.restricted = True
            if self.on_restricted is not None:
                self.on_restricted()


def _may_pass(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, TileError) and error.problem.action in {Action.RETRY, Action.SLOW}


def _jittered(state: RetryCallState) -> float:
    """Full jitter under an exponential ceiling; never less than the service asked for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.problem.retry_after_s if isinstance(error, TileError) else None
    ceiling = min(0.5 * 2.0**state.attempt_number, _MAX_WAIT_S)
    return (asked or 0.0) + random.uniform(0.0, ceiling)  # noqa: S311  # jitter, no secret
