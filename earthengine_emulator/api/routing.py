"""From HTTP method and path to a method of the API, by the table of docs/contract.md §1.2."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

VERSIONS: Final = ("v1", "v1beta", "v1alpha")
_ASSET: Final = re.compile(r"^projects/([^/]+)/assets(/.*)?$")
_PROJECT: Final = re.compile(r"^projects/([^/]+)$")
_THUMBNAIL: Final = re.compile(r"^projects/([^/]+)/thumbnails/([^/]+)$")


@dataclass(frozen=True, slots=True)
class Route:
    """A method and the resource it is called on."""

    method: str
    """`assets.get`, `assets.listAssets`, …; also `token` and `discovery`, which are not versioned."""
    resource: str = ""
    """Asset name, project, or thumbnail name, percent-decoded."""
    project: str | None = None
    """The project in the path, for methods that are counted against it."""
    version: str = "v1"


def find(verb: str, raw_path: str) -> Route | None:
    """Return the route of an HTTP method and an undecoded path without query; None when there is none."""
    path = unquote(raw_path)
    if path == "/token":
        return Route("token") if verb == "POST" else None
    if path == "/$discovery/rest":
        return Route("discovery") if verb == "GET" else None
    _, version, *rest = path.split("/", 2) if path.count("/") >= 2 else ("", "")
    if version not in VERSIONS or not rest:
        return None
    resource, colon, action = rest[0].rpartition(":")
    if not colon or "/" in action:
        resource, action = rest[0], ""
    return _get(resource, action, version) if verb == "GET" else _post(resource, action, version, verb)


def _get(resource: str, action: str, version: str) -> Route | None:
    """Return routes of GET."""
    asset, project = _ASSET.match(resource), _PROJECT.match(resource)
    if action == "" and asset and asset[2]:
        return Route("assets.get", resource, None, version)
    if action == "listAssets" and (asset or project):
        return Route("assets.listAssets", resource, None, version)
    if action == "listImages" and asset and version == "v1alpha":
        return Route("assets.listImages", resource, None, version)
    if action == "getPixels" and _THUMBNAIL.match(resource):
        return Route("thumbnails.getPixels", resource, None, version)
    for suffix, method in (("/algorithms", "algorithms.list"), ("/config", "projects.getConfig")):
        owner = _PROJECT.match(resource.removesuffix(suffix)) if resource.endswith(suffix) else None
        if owner and action == "":
            return Route(method, resource, owner[1], version)
    return None


def _post(resource: str, action: str, version: str, verb: str) -> Route | None:
    """Return routes of POST."""
    if verb != "POST":
        return None
    asset = _ASSET.match(resource)
    if action == "getPixels" and asset and asset[2]:
        return Route("assets.getPixels", resource, None, version)
    for suffix, wanted, method in (
        ("/image", "computePixels", "image.computePixels"),
        ("/value", "compute", "value.compute"),
        ("/thumbnails", "", "thumbnails.create"),
    ):
        owner = _PROJECT.match(resource.removesuffix(suffix)) if resource.endswith(suffix) else None
        if owner and action == wanted:
            return Route(method, resource, owner[1], version)
    return None
