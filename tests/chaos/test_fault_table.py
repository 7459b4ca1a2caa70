"""`docs/faults.md` and the tests say the same."""

from __future__ import annotations

import re

from tests.harness import ROOT

TABLE = (ROOT / "docs" / "faults.md").read_text()


def names_there(*more):
    """Names of the tests in this folder, and in files elsewhere."""
    found = set()
    for file in [*(ROOT / "tests" / "chaos").glob("test_*.py"), *(ROOT / path for path in more)]:
        found |= set(re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE))
    return found


def test_each_row_is_there_once():
    rows = [int(number) for number in re.findall(r"^\| (\d+) \|", TABLE, re.MULTILINE)]
    assert rows == list(range(1, len(rows) + 1))
    assert len(rows) >= 65, "the sixty of the catalogue, and five of our own"


def test_each_row_has_a_test_or_a_reason():
    for line in re.findall(r"^\| \d+ \|.*", TABLE, re.MULTILINE):
        assert "`test" in line or "waits for" in line, line


def test_what_the_table_names_exists():
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    elsewhere = re.findall(r"`(tests/[\w/]+\.py)`", TABLE)
    for path in elsewhere:
        assert (ROOT / path).is_file(), path
    assert named <= names_there(*elsewhere)


def test_each_test_of_a_row_is_named():
    named = set(re.findall(r"`(test_\w+)`", TABLE))
    assert {name for name in names_there() if name.startswith("test_row")} <= named


def test_the_faults_it_names_are_the_emulators():
    from earthengine_emulator.api.faults import FAULTS

    for line in re.findall(r"^\| (?:[1-9]|[12]\d|3[0-2]|7[5-9]|8\d) \|.*", TABLE, re.MULTILINE):
        cells = line.split("|")
        for name in re.findall(r"`([a-z]+-[\w-]+)`", cells[3]):
            assert name in FAULTS, name
