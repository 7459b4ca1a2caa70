"""The built-in catalogue."""

from __future__ import annotations

from earthengine_emulator.catalogue.model import Image
from earthengine_emulator.data import built_in
from earthengine_emulator.data.land import Land
from tests import oracle

BUILT_IN = built_in.catalogue()


def test_every_asset_has_an_oracle():
    for name in [*BUILT_IN.children(f"{oracle.PUBLIC}EMULATOR"), oracle.QUICKSTART]:
        asset = BUILT_IN.get(name)
        if not isinstance(asset, Image) or not isinstance(asset.source, Land):
            continue
        known = oracle.scene(name)
        assert known.place == asset.source.place
        assert known.origin == asset.source.origin
        found = zip(asset.bands, asset.source.kinds, asset.source.steps, strict=True)
        assert known.bands == {b.id: (k, s, b.lattice.width, b.lattice.height) for b, k, s in found}
