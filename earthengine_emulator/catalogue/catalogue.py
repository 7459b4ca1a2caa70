"""All assets of an emulator, by name; containers know what lies in them."""

from __future__ import annotations

import hashlib
import re
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import RLock
from typing import Final

from earthengine_emulator.api import errors
from earthengine_emulator.catalogue.model import LEGACY, PUBLIC, Asset

FORMULA: Final = "land"
FORMULA_VERSION: Final = 2
"""Raised whenever a pixel or an updateTime of the built-in assets changes."""

PRIVATE: Final = "projects/p-private-1/assets/"
"""Prefix of assets that no caller may read."""
_PROJECT: Final = r"(?:[a-z0-9.-]+\.[a-z0-9-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"
_NAME: Final = re.compile(rf"^projects/{_PROJECT}/assets/(.*)$")
_ROOT: Final = re.compile(rf"^projects/{_PROJECT}/assets$")


def asset_name(text: str) -> str:
    """Return the name of an id as users write it (docs/contract.md §1.3)."""
    if _NAME.match(text):
        return text
    if _ROOT.match(text):
        return f"{text}/"
    if text.split("/", 1)[0] in ("users", "projects"):
        return LEGACY + text
    return PUBLIC + text


def well_formed_project(project: str) -> bool:
    """Return whether a project id is well-formed."""
    return re.fullmatch(_PROJECT, project) is not None


def check_readable(name: str) -> None:
    """Refuse assets that the caller may not read.

    Raises:
        ApiError: E17.
    """
    if name.startswith(PRIVATE):
        raise errors.permission_denied("earthengine.assets.get", name)


class Catalogue:
    """Assets by name. While requests are being served only `touch`, `remove` and `restore` change them."""

    def __init__(self, assets: Iterable[Asset] = ()) -> None:
        self._assets: dict[str, Asset] = {}
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        self._digests: list[str] = []
        self._originals: dict[str, Asset] = {}
        self._later: dict[str, Callable[[], Iterable[Asset]]] = {}
        self._making = RLock()
        for asset in assets:
            self.add(asset)

    def add(self, asset: Asset, digest: str | None = None) -> None:
        """Add an asset; `digest` is the hash of what it was made of, if that is not this package's own formula."""
        if asset.name in self._assets:
            raise ValueError(f"the catalogue already has an asset {asset.name}")
        self._assets[asset.name] = asset
        insort(self._children[asset.name.rsplit("/", 1)[0]], asset.name)
        if digest is not None:
            self._digests.append(f"{asset.name}={digest}")

    def add_later(self, collection: str, make: Callable[[], Iterable[Asset]]) -> None:
        """Have a collection's images made when one of them, or their list, is asked for."""
        self._later[collection] = make

    def _make(self, collection: str) -> None:
        if collection not in self._later:
            return
        with self._making:
            if collection in self._later:
                for asset in self._later[collection]():
                    self.add(asset)
                del self._later[collection]

    def get(self, name: str) -> Asset | None:
        """Return the asset of that name."""
        self._make(name.rpartition("/")[0])
        return self._assets.get(name)

    def children(self, parent: str) -> Sequence[str]:
        """Return names directly under a container or root (`projects/P/assets`), ascending."""
        self._make(parent.rstrip("/"))
        return self._children.get(parent.rstrip("/"), ())

    def touch(self, name: str, update_time: str) -> None:
        """Give an asset another updateTime."""
        self._make(name.rpartition("/")[0])
        asset = self._assets[name]
        self._originals.setdefault(name, asset)
        self._assets[name] = replace(asset, update_time=update_time)

    def remove(self, name: str) -> None:
        """Take an asset out, as if it had been deleted."""
        self._make(name.rpartition("/")[0])
        asset = self._assets.pop(name)
        self._originals.setdefault(name, asset)
        self._children[name.rsplit("/", 1)[0]].remove(name)

    def restore(self) -> None:
        """Undo all that `touch` and `remove` did."""
        for name, asset in self._originals.items():
            if name not in self._assets:
                insort(self._children[name.rsplit("/", 1)[0]], name)
            self._assets[name] = asset
        self._originals.clear()

    @property
    def data_set(self) -> str:
        """The identity of all pixels: the formula, its version, and the contents of added rasters.

        Two emulators with the same data set give the same pixels; clients may use it as an identity.
        """
        text = f"{FORMULA}-{FORMULA_VERSION}"
        if self._digests:
            text += "-" + hashlib.sha256("\n".join(sorted(self._digests)).encode()).hexdigest()[:16]
        return text
