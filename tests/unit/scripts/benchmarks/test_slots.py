"""The picture of slots in use."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from scripts.benchmarks.results import Row
from scripts.benchmarks.slots import BLUE, RED, drawn


def test_each_row_that_was_looked_at_has_a_panel_of_bars() -> None:
    rows = [
        Row("best list schedule", 1.0),
        Row("ours", 2.0, requests=12, slots=[10, 40, 36, 35.9]),
        Row("uncut", 3.0, requests=9, slots=[40] * 11),
    ]
    root = ET.fromstring(drawn(rows))
    tag = "{http://www.w3.org/2000/svg}"
    bars = [rect.attrib for rect in root.iter(f"{tag}rect")][1:]
    assert [bar["fill"] for bar in bars] == [RED, BLUE, BLUE, RED, *[BLUE] * 11]
    assert float(bars[0]["height"]) * 4 == float(bars[1]["height"])
    titles = [text.text or "" for text in root.iter(f"{tag}text")]
    assert "ours: 2.00 s, 12 requests" in titles
    assert not any("best list schedule" in title for title in titles)
    width = float(root.attrib["viewBox"].split()[2])
    assert all(float(bar["x"]) + float(bar["width"]) <= width for bar in bars)
