"""A notebook's kernel that is interrupted: the bar stays, the error is short, what was asked for is saved."""

from __future__ import annotations

import json
import re
from pathlib import Path

from earthengine_emulator import EmulatorProcess
from tests.harness import compare, getpixels, job, repeated, window
from tests.kernel import Kernel


def test_the_stop_button_drains_and_the_next_call_continues(
    kernel: Kernel, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    emulator.control("configure", {"latency_ms": 150})
    values = job(
        emulator, tmp_path / "mosaic.zarr", region=window(0, 0, 2048, 2048), request={"tiles": 1}, limits={"concurrency": 4}
    )  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(values))
    list(kernel.run('import json, downloader\njob = json.load(open("job.json"))'))
    bar, errors, shown, is_interrupted = "", [], 0, False
    for kind, content in kernel.run(
        "for _ in range(2):\n    try:\n        downloader.download(job)\n    except Exception: pass"
    ):
        assert kind != "stream", content
        if kind == "display_data":
            shown += 1
        if kind in {"display_data", "update_display_data"}:
            assert "<script" not in content["data"]["text/html"]
            bar = content["data"]["text/plain"]
            if not is_interrupted and re.search(r"\b[1-9]\d*/64 tiles", bar):
                is_interrupted = True
                kernel.manager.interrupt_kernel()
        if kind == "error":
            errors.append(content)
    assert shown == 1, "one bar, redrawn in place: the loop ended"
    assert bar.splitlines()[1].startswith("interrupted: ")
    (error,) = errors
    assert error["ename"] == "InterruptedRunError"
    assert "of 64 tiles are saved" in error["evalue"]
    assert len(error["traceback"]) <= 8, "the message, and the cell's own line"
    stored = len(getpixels(emulator))
    assert 0 < stored < 64
    (result,) = [
        content["data"]["text/plain"]
        for kind, content in kernel.run(
            "report = downloader.download(job)\nreport.tiles_before, report.tiles_stored"
        )
        if kind == "execute_result"
    ]
    assert result == f"({stored}, 64)"
    assert repeated(emulator) == 0
    compare(tmp_path / "mosaic.zarr")


def test_a_long_read_of_a_cube_shows_how_far_it_is(
    kernel: Kernel, emulator: EmulatorProcess, tmp_path: Path
) -> None:
    """Nothing is shown of a quick read, nor with `progress=False`."""
    emulator.control("configure", {"latency_ms": 300})
    values = job(
        emulator, tmp_path / "mosaic.zarr", region=window(0, 0, 1024, 1024), limits={"concurrency": 2}
    )
    (tmp_path / "job.json").write_text(json.dumps(values))
    list(
        kernel.run(
            'import json, downloader\ncube = downloader.open(json.load(open("job.json")), chunks=None)'
        )
    )

    def bars(code: str) -> list[str]:
        return [
            content["data"]["text/plain"]
            for kind, content in kernel.run(code)
            if kind.endswith("display_data")
        ]

    reading = bars("cube.isel(y=slice(256, None)).load();")
    assert reading, "a line came"
    assert any("of" in text for text in reading[:-1])
    assert reading[-1].endswith(": done")
    quick = bars("cube.isel(y=slice(256, None)).load();")
    assert quick == []
