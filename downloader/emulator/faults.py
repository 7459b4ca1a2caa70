"""Faults on demand: named, seeded, and bounded in number, consulted for every request."""

from __future__ import annotations

from aiohttp import web

from .replies import Reply
from .routing import Route
from .settings import Settings
from .statistics import Record


class Faults:
    """The active faults of an emulator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def answer(self, route: Route, record: Record, request: web.BaseRequest) -> Reply | None:
        """What a fault answers in place of the service; None where none strikes."""
        del route, record, request
        return None

    def transform(self, route: Route, record: Record, reply: Reply) -> Reply:
        """A reply as a fault leaves it."""
        del route, record
        return reply
