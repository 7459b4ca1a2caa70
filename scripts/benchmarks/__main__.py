"""`scripts/bench`: measure, print, save, compare."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from scripts.benchmarks.results import Scenario, compare, markdown, text
from scripts.benchmarks.running import DidNotRunError
from scripts.benchmarks.scenarios import SCENARIOS, Setting
from scripts.benchmarks.slots import drawn

BASELINE = Path(__file__).resolve().parents[1] / "bench-baseline.json"


def main() -> int:
    """Run the scenarios asked for; 1 where one fails, or `--check` finds one worse."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("scenario", nargs="*", help="which ones; all by default")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="save the tables")
    parser.add_argument(
        "--svg", type=Path, metavar="FILE", help="draw the slots in use of the first scenario"
    )
    parser.add_argument("--check", action="store_true", help="compare the ratios with the committed baseline")
    parser.add_argument("--quick", action="store_true", help="smaller windows")
    parser.add_argument("--alone", action="store_true", help="without the rivals")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.scenario if name not in SCENARIOS]
    if chosen.list or unknown:
        for name, scenario in SCENARIOS.items():
            print(f"{name:10} {(scenario.__doc__ or '').strip()}")
        return 2 if unknown else 0
    begun, scenarios, failed = time.monotonic(), [], False
    with tempfile.TemporaryDirectory(prefix="downloader-bench-") as folder:
        setting = Setting(Path(folder), quick=chosen.quick, alone=chosen.alone)
        for name in chosen.scenario or SCENARIOS:
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                scenarios.append(SCENARIOS[name](setting))
            except DidNotRunError as error:
                failed = True
                print(f"\n{name}: FAILED: {error}", flush=True)
                continue
            print(text(scenarios[-1]), flush=True)
    print(
        f"\n{time.monotonic() - begun:.0f} s in all; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    if chosen.json:
        chosen.json.write_text(json.dumps(_document(scenarios), indent=1, ensure_ascii=False) + "\n")
    if chosen.svg and scenarios:
        chosen.svg.write_text(drawn(scenarios[0].rows), encoding="utf-8")
    if chosen.markdown:
        chosen.markdown.write_text("\n".join(map(markdown, scenarios)))
    if chosen.check:
        failed |= not _is_no_worse(scenarios, quick=chosen.quick, alone=chosen.alone)
    return 1 if failed else 0


def _document(scenarios: list[Scenario]) -> dict[str, object]:
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]}
    return {"machine": machine, "scenarios": [scenario.to_json() for scenario in scenarios]}


def _is_no_worse(scenarios: list[Scenario], *, quick: bool, alone: bool) -> bool:
    document = json.loads(BASELINE.read_text())
    ratios = document["quick" if quick else "full"]
    measured = {scenario.name for scenario in scenarios}
    worse = compare(
        scenarios,
        {name: values for name, values in ratios.items() if name in measured},
        document["tolerance"],
        alone=alone,
    )
    for scenario in scenarios:
        for row in scenario.absent():
            print(f"{scenario.name}: {row.name} did not run, and nothing is compared with it: {row.note}")
    for line in worse:
        print(f"WORSE {line}")
    if not worse:
        print(f"nothing is worse than the baseline by more than {document['tolerance']:.0%}")
    return not worse


if __name__ == "__main__":
    sys.exit(main())
