"""The control API, on a port of its own: what was seen, and every switch at run time."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from aiohttp import web

from earthengine_emulator.api.settings import Settings, SettingsError
from earthengine_emulator.server.server import Server
from earthengine_emulator.server.statistics import Statistics


class Control:
    """Routes of the control port.

    | request | effect |
    | --- | --- |
    | GET /state | counts, switches, data set, loaded modules |
    | GET /requests?since=N | records of the requests numbered above N |
    | POST /configure | a JSON object of switches, and `assets`: name → {"updateTime": …} or null (deleted) |
    | POST /tokens | {"project", "life_s", "token", "scopes"} → {"access_token"} |
    | POST /expire | every token given so far is too old |
    | POST /outage | {"seconds": N}: cut all connections, refuse new ones for so long |
    | POST /reset | counts, quotas, faults, assets and switches as at the start |
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._at_start = server.settings.changed({})

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one control request."""
        routes: dict[tuple[str, str], Callable[[web.BaseRequest, dict[str, Any]], dict[str, Any]]] = {
            ("GET", "/state"): self._state,
            ("GET", "/requests"): self._requests,
            ("POST", "/configure"): self._configure,
            ("POST", "/tokens"): self._tokens,
            ("POST", "/expire"): self._expire,
            ("POST", "/outage"): self._refuse,
            ("POST", "/reset"): self._reset,
        }
        action = routes.get((request.method, request.path))
        if action is None:
            return web.json_response({"error": f"no {request.method} {request.path} here"}, status=404)
        if request.method == "POST" and request.content_type != "application/json":
            # Keeps web pages out: a browser asks before it sends this type to another origin, and gets no leave.
            return web.json_response({"error": "send Content-Type: application/json"}, status=415)
        try:
            body = json.loads(await request.read() or b"{}") if request.method == "POST" else {}
            return web.json_response(action(request, body))
        except (SettingsError, ValueError, TypeError, AttributeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except KeyError as error:
            return web.json_response({"error": f"there is no {error}"}, status=404)

    def _state(self, _request: web.BaseRequest, _body: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        return {
            "data_set": server.catalogue.data_set,
            "settings": self._settings(),
            **server.statistics.document(),
            "modules": sorted(sys.modules),
        }

    def _settings(self) -> dict[str, Any]:
        return {f.name: getattr(self._server.settings, f.name) for f in fields(Settings)}

    def _requests(self, request: web.BaseRequest, _body: dict[str, Any]) -> dict[str, Any]:
        since = int(request.query.get("since", 0))
        records = [r.document() for r in self._server.statistics.records if r.number > since]
        return {"requests": records}

    def _configure(self, _request: web.BaseRequest, body: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        assets = body.pop("assets", {})
        changed = server.settings.changed(body)
        for name, change in assets.items():
            if change is None:
                server.catalogue.remove(name)
            else:
                server.catalogue.touch(name, change["updateTime"])
        server.settings.assign(changed)
        server.authority.life_s = changed.token_life_s
        server.switched()
        return {"settings": self._settings()}

    def _tokens(self, _request: web.BaseRequest, body: dict[str, Any]) -> dict[str, Any]:
        scopes = body.get("scopes")
        extra = {} if scopes is None else {"scopes": frozenset(scopes)}
        token = self._server.authority.issue(
            body.get("project", "p-test-1"), body.get("life_s"), body.get("token"), **extra
        )
        return {"access_token": token}

    def _expire(self, _request: web.BaseRequest, _body: dict[str, Any]) -> dict[str, Any]:
        self._server.authority.expire_all()
        return {}

    def _refuse(self, _request: web.BaseRequest, body: dict[str, Any]) -> dict[str, Any]:
        self._server.outage(float(body["seconds"]))
        return {}

    def _reset(self, _request: web.BaseRequest, _body: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        in_flight = server.statistics.in_flight
        server.statistics = Statistics(in_flight=in_flight)
        server.quotas.reset()
        server.catalogue.restore()
        server.settings.assign(self._at_start)
        server.authority.life_s = self._at_start.token_life_s
        server.switched()
        return {}
