"""The API on a socket: one handler that authenticates, counts, delays and sends (aiohttp)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import web

from earthengine_emulator.api import errors, routing
from earthengine_emulator.api.record import KEPT_BODY, Record
from earthengine_emulator.api.replies import Reply, Stream, document, failure
from earthengine_emulator.api.routing import Route
from earthengine_emulator.api.settings import Settings
from earthengine_emulator.catalogue.catalogue import Catalogue
from earthengine_emulator.faults.engine import Faults, Strike
from earthengine_emulator.faults.transport import Outage, Wire
from earthengine_emulator.server import projects
from earthengine_emulator.server.auth import Authority, GrantError
from earthengine_emulator.server.quotas import Quotas
from earthengine_emulator.server.service import Service
from earthengine_emulator.server.statistics import Statistics

EMULATOR_HEADER: Final = "x-earth-engine-emulator"
RESTRICTED_HEADER: Final = "x-earth-engine-quota-status"
DISCARD_BYTES: Final = 64 * 2**20
"""Of a body above the limit so much is read before the refusal, so that the client is listening when it comes."""
_SMALL_BYTES: Final = 4 * 2**20
"""Answers of fewer bytes are made one after the other."""
UNCOUNTED: Final = ("token", "discovery", "thumbnails.getPixels")
"""Methods that need no credentials and count against no quota."""
_SECRET: Final = ("access_token", "oauth_token", "key")
"""Query parameters that are never kept."""


def host_role(host: str) -> str:
    """Return the service's host that a Host header stands for (docs/contract.md §1.1).

    `localhost`, and names with `highvolume` in them, are the high-volume endpoint; all else is the standard one.
    """
    name = host.rsplit(":", 1)[0].lower() if not host.endswith("]") else host
    return "high-volume" if name == "localhost" or "highvolume" in name else "standard"


class Server:
    """A running emulator's parts, and the handler that joins them."""

    def __init__(self, catalogue: Catalogue, settings: Settings, authority: Authority) -> None:
        self.catalogue = catalogue
        self.settings = settings
        self.authority = authority
        self.service = Service(catalogue, settings, authority)
        self.quotas = Quotas(settings)
        self.statistics = Statistics()
        self.faults = Faults(settings, authority.expire_all)
        self.outage: Outage = _no_outage
        self._switched = asyncio.Event()
        self._in_turn = ThreadPoolExecutor(1)
        """One thread for what is many small steps: several would spend their time handing the interpreter to each other."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is."""
        started = time.monotonic()
        raw_path = request.raw_path.partition("?")[0]
        verb = request.method
        overridden = verb == "POST" and request.headers.get("x-http-method-override", "").upper() == "GET"
        route = routing.find("GET" if overridden else verb, raw_path)
        host = host_role(request.host)
        record = self.statistics.begin(
            route.method if route else "unknown", route.resource if route else raw_path, host, request.headers
        )
        try:
            # The slot is held until the answer is sent, and given back when the client goes away before that.
            with ExitStack() as held:
                strike = None
                try:
                    reply, strike = await self._answer(request, route, record, held, overridden=overridden)
                except errors.ApiError as error:
                    reply = failure(error)
                if record.project is not None:  # those who are not let in are told at once
                    await self._delay(started, reply)
                try:
                    return await self._send(request, reply, record, strike)
                except errors.ApiError as error:
                    if record.bytes:  # too late for another status: all that is left is to break off
                        raise ConnectionResetError(str(error)) from error
                    return await self._send(request, failure(error), record, None)
        finally:
            self.statistics.end(record)

    async def _answer(
        self,
        request: web.BaseRequest,
        route: Route | None,
        record: Record,
        held: ExitStack,
        *,
        overridden: bool,
    ) -> tuple[Reply, Strike | None]:
        """Return the reply of a request and the fault still to be applied; enter the request's slot into `held`."""
        body = await self._body(request)
        if body and record.method != "token":
            record.body = body[:KEPT_BODY].decode(errors="replace")
        if route is None:
            raise errors.method_not_found(request.raw_path.partition("?")[0])
        if route.method == "token":
            strike = self.faults.pick(record)
            reply = self._token(request, body)
        else:
            text = body.decode("latin-1") if overridden else request.raw_path.partition("?")[2]
            if route.method not in UNCOUNTED:
                record.project = self._admit(request, route, held, record.host)
            query = dict(parse_qsl(text))
            record.query = {name: value for name, value in query.items() if name not in _SECRET}
            reply = await self._call(route, query, b"" if overridden else body, record)
            strike = self.faults.pick(record)
        if record.project == projects.RESTRICTED or self.settings.restricted:
            reply.headers[RESTRICTED_HEADER] = "parallelism_restricted=true"
        if strike is None or strike.on_the_wire:
            return reply, strike
        instead = self.faults.answer(strike, record, record.project or projects.LEGACY)
        if instead is not None:
            return instead, strike
        return await asyncio.to_thread(self.faults.change, strike, reply), strike

    async def _call(self, route: Route, query: dict[str, str], body: bytes, record: Record) -> Reply:
        """Return the service's answer; what may take long, which is pixels and lists, is worked out in a thread.

        NPY is not among it: its call only prepares a stream.
        """
        if route.method == "assets.get" or (route.method == "assets.getPixels" and b'"NPY"' in body):
            return self.service.call(route, query, body, record)
        call = partial(self.service.call, route, query, body, record)
        if route.method == "image.computePixels":
            return await asyncio.get_running_loop().run_in_executor(self._in_turn, call)
        return await asyncio.to_thread(call)

    def _admit(self, request: web.BaseRequest, route: Route, held: ExitStack, host: str) -> str:
        """Check credentials, project and quota, in this order; return the project that pays."""
        required = self.settings.auth == "required"
        token = self.authority.check(request.headers.get("Authorization"), required=required)
        project = projects.payer(token, request.headers.get("X-Goog-User-Project"), route.project)
        for named in {project, route.project or project} - {projects.LEGACY}:
            registered = route.method != "projects.getConfig"
            projects.check(named, self.settings.deleted_project_status, registered=registered)
        if route.method in ("image.computePixels", "value.compute", "thumbnails.create"):
            projects.check_computations(project)
        held.enter_context(self.quotas.slot(host, project))
        self.statistics.note_in_flight(host, project, self.quotas.in_flight[host, project])
        return project

    async def _body(self, request: web.BaseRequest) -> bytes:
        """Return the request's body, refused above the limit (E9)."""
        if not request.body_exists:
            return b""
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        limit = self.settings.limit_payload_bytes
        chunks, total = [], 0
        async for chunk in request.content.iter_any():
            total += len(chunk)
            if total <= limit:
                chunks.append(chunk)
            elif total > DISCARD_BYTES:
                break
        if total > limit:
            raise errors.payload_too_large(limit)
        return b"".join(chunks)

    def _token(self, request: web.BaseRequest, body: bytes) -> Reply:
        """Return the answer of the token endpoint."""
        try:
            form = dict(parse_qsl(body.decode("latin-1")))
            return document(self.authority.grant(form, f"http://{request.host}/token"))
        except GrantError as error:
            return document(error.document, 400)

    async def _delay(self, started: float, reply: Reply) -> None:
        """Wait until the answer is due: the base latency and what its size adds, from the request's arrival.

        A change of the switches holds for those who wait, too.
        """
        settings = self.settings
        while True:
            latency = (settings.latency_ms + settings.latency_ms_per_mb * reply.length / 1e6) / 1000
            left = started + latency - time.monotonic()
            if left <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._switched.wait()

    def switched(self) -> None:
        """Let requests that wait look at the switches again."""
        self.service.switched()
        self._switched.set()
        self._switched = asyncio.Event()

    async def _send(
        self, request: web.BaseRequest, reply: Reply, record: Record, strike: Strike | None
    ) -> web.StreamResponse:
        """Send a reply."""
        headers = {
            "Content-Type": reply.content_type,
            EMULATOR_HEADER: self.catalogue.data_set,
            **reply.headers,
            **self.settings.headers,
        }
        if reply.status == 429 and self.settings.retry_after_s is not None:
            headers.setdefault("Retry-After", f"{self.settings.retry_after_s:g}")
        record.status = reply.status
        if strike is not None and strike.on_the_wire:
            await Wire(request, reply, headers, strike, self.outage).send()
            record.complete = strike.leaves_whole
            return web.Response()  # never sent: the connection is gone
        if isinstance(reply.body, bytes):
            response = web.Response(status=reply.status, body=reply.body, headers=headers)
            await response.prepare(request)
            await response.write_eof()
            record.bytes, record.complete = len(reply.body), strike is None or strike.leaves_whole
            return response
        return await self._send_stream(request, reply.body, reply.status, headers, record)

    async def _send_stream(
        self,
        request: web.BaseRequest,
        stream: Stream,
        status: int,
        headers: Mapping[str, str],
        record: Record,
    ) -> web.StreamResponse:
        """Send a body while it is made.

        Raises:
            ApiError: what was asked for cannot be worked out; as long as nothing is sent the client can be told.
        """
        slabs, loop = stream.slabs(), asyncio.get_running_loop()
        pool = self._in_turn if stream.length < _SMALL_BYTES else None

        async def next_slab() -> Any:  # noqa: ANN401 - bytes of any kind, None at the end
            return (
                await loop.run_in_executor(pool, next, slabs, None) if stream.blocking else next(slabs, None)
            )

        slab = await next_slab()
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = stream.length
        await response.prepare(request)
        while slab is not None:
            await response.write(slab)
            record.bytes += len(slab)
            if record.bytes < stream.length:
                await asyncio.sleep(0)  # a writer that never has to wait would keep all others waiting
            slab = await next_slab()
        await response.write_eof()
        record.complete = True
        return response


def _no_outage(seconds: float) -> None:
    """Do nothing: the emulator does not listen yet."""
    del seconds
