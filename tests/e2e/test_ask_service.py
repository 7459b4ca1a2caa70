"""`scripts/ask-service`: the open points of the contract, and what a block to paste must not tell."""

from __future__ import annotations

import asyncio
import re
import struct
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

from earthengine_emulator.api.settings import STRICT, Settings
from tests.harness import ROOT, secrets

_LOADER = SourceFileLoader("ask_service", str(ROOT / "scripts" / "ask-service"))
script = module_from_spec(spec_from_loader(_LOADER.name, _LOADER))
_LOADER.exec_module(script)


def block_of(emulator) -> str:
    return asyncio.run(script.answers("p-test-1", str(emulator.key_file), emulator.url))


def test_the_block_takes_few_requests_and_tells_no_secret(emulator):
    # What this block says is the mild emulator's answer, also where everything else runs against the strict one.
    mild = Settings()
    emulator.control("configure", {name: getattr(mild, name) for name in STRICT})
    block = block_of(emulator)
    calls = emulator.control("requests")["requests"]
    assert 9 < len(calls) <= 15, [call["method"] for call in calls]
    assert all(call["size"] is None or max(call["size"]) <= 2 for call in calls), "small ones"
    assert block.startswith("```text\n")
    assert block.endswith("```")
    for point in (
        "1 masked, computed",
        "2 NPY",
        "2 PNG",
        "4 unknown band",
        "4 no fileFormat",
        "6, 7",
        "8 pageSize",
    ):
        assert point in block
    assert "|u1 0, |i1 0, <i2 0" in block
    assert "a multiple of 64" in block
    assert "bits 32/32/32" in block
    assert "accepted, 2 entries" in block
    for word in (*secrets(emulator.key_file), b"p-test-1", b"gserviceaccount"):
        assert word not in block.encode()


def test_the_strict_emulator_differs_from_the_mild_one(emulator):
    emulator.control("configure", {"fill": "min", "header_padding": 16})
    block = block_of(emulator)
    assert "<i2 -32768" in block
    assert "|u1 0, |i1 -128" in block


def test_what_is_unusual_is_shown(emulator):
    emulator.control("configure", {"headers": {"Retry-After": "7", "x-earth-engine-init-message": "hello"}})
    block = block_of(emulator)
    assert "Retry-After: seen" in block
    assert "x-earth-engine-init-message: hello" in block


def test_what_is_pasted_is_redacted():
    text = (
        "403: project my-proj (project_number:123456789) of a.b@c.iam.gserviceaccount.com ya29.abc-def token"
    )
    shown = script.redacted(text, "my-proj", "service account a.b@c.iam.gserviceaccount.com (key.json)")
    assert not re.search(r"my-proj|123456|a\.b|ya29", shown)
    assert shown.startswith("403: project …")


def test_tags_of_a_tiff_in_either_order():
    for order, magic in (("<", b"II*\0"), (">", b"MM\0*")):
        entries = [
            struct.pack(f"{order}HHIHH", 277, 3, 1, 2, 0),
            struct.pack(f"{order}HHII", 258, 3, 3, 200),
            struct.pack(f"{order}HHII", 42113, 2, 6, 210),
        ]
        data = magic + struct.pack(f"{order}I", 8) + struct.pack(f"{order}H", 3) + b"".join(entries)
        data = data.ljust(200, b"\0") + struct.pack(f"{order}3H", 16, 16, 32)
        data = data.ljust(210, b"\0") + b"-9999\0"
        assert script.read_tags(data) == {277: (2,), 258: (16, 16, 32), 42113: "-9999"}


@pytest.mark.parametrize(
    "data", [b"", b"PNG", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"]
)
def test_what_is_no_tiff_is_told(data):
    with pytest.raises(ValueError, match="TIFF"):
        script.read_tags(data)
