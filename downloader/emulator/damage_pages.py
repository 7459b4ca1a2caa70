"""Damage to pages of listings (faults.md, row 18)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from .replies import Page, Reply

Parameters = Mapping[str, Any]
Damage = Callable[[Reply, Parameters], Reply]
Change = Callable[[dict[str, Any], Page, Parameters], dict[str, Any]]


def _pages(change: Change) -> Damage:
    """A damage to pages of listings, made of a change to their document."""

    def damage(reply: Reply, parameters: Parameters) -> Reply:
        if reply.page is None or not isinstance(reply.body, bytes):
            return reply
        return replace(
            reply, body=json.dumps(change(json.loads(reply.body), reply.page, parameters)).encode()
        )

    return damage


def _empty_page(body: dict[str, Any], page: Page, parameters: Parameters) -> dict[str, Any]:
    del body, parameters
    return {"nextPageToken": page.here}


def _many_pages(body: dict[str, Any], page: Page, parameters: Parameters) -> dict[str, Any]:
    del parameters
    if page.key not in body:
        return body  # an empty page has its own token: the one behind an entry would skip that entry
    one = {page.key: body[page.key][:1]}
    return {**one, "nextPageToken": page.after_one} if page.after_one else one


def _repeated_token(body: dict[str, Any], page: Page, parameters: Parameters) -> dict[str, Any]:
    del parameters
    return {**body, "nextPageToken": page.asked or page.here}


def _missing_field(body: dict[str, Any], page: Page, parameters: Parameters) -> dict[str, Any]:
    for entry in body.get(page.key, []):
        entry.pop(parameters["field"], None)
    return body


PAGE_DAMAGES: Final[Mapping[str, Damage]] = {
    "empty-page": _pages(_empty_page),
    "many-pages": _pages(_many_pages),
    "repeated-token": _pages(_repeated_token),
    "missing-field": _pages(_missing_field),
}
