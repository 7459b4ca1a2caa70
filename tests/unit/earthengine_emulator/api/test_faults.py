"""The list of faults."""

from __future__ import annotations

from pathlib import Path

from earthengine_emulator.api import faults as spec

ROOT = Path(__file__).parents[4]


def test_every_fault_is_tested_and_documented():
    tests = "".join(
        (ROOT / "tests" / "contract" / f"test_{n}.py").read_text() for n in ("faults", "listings")
    )
    page = (ROOT / "docs" / "emulator.md").read_text()
    for name in spec.FAULTS:
        assert f'"{name}"' in tests, f"no test meets {name}"
        assert f"`{name}`" in page, f"docs/emulator.md does not name {name}"
