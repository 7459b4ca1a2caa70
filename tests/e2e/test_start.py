"""A quick start: which libraries a command loads. Modules are counted, as seconds depend on the machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COUNTED = """
import json, sys
from downloader.__main__ import main
status = main(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump(sorted(sys.modules), file)
sys.exit(status)
"""


def modules_of(folder: Path, *command: str) -> set[str]:
    """Return the modules that are loaded when a command has ended."""
    file = folder / "modules.json"
    subprocess.run([sys.executable, "-c", COUNTED, str(file), *command], capture_output=True, check=True)
    return set(json.loads(file.read_text()))


@pytest.mark.parametrize(
    ("command", "most", "unused"),
    [
        ("plan", 980, {"tenacity", "zarr", "xarray", "rich", "pygments", "downloader.engine.run"}),
        ("run", 1080, {"zarr", "xarray", "rich", "pygments", "downloader.diagnosis"}),
        ("status", 520, {"zarr", "xarray", "rich", "aiohttp", "httpx", "google", "pyproj", "numcodecs", "downloader.engine"}),
    ],
)  # fmt: skip
def test_a_command_loads_only_what_it_uses(
    tmp_path: Path, job_file: Path, command: str, most: int, unused: set[str]
) -> None:
    if command == "status":
        modules_of(tmp_path, "run", str(job_file), "--quiet")
    loaded = modules_of(tmp_path, command, str(job_file))
    assert not unused & loaded
    assert len(loaded) <= most


def test_no_certificates_are_read_for_a_service_without_tls(tmp_path: Path) -> None:
    """Aiohttp would read the system's twice while it is imported."""
    code = """
import ssl
calls = []
ssl.SSLContext.load_verify_locations = lambda *_, **__: calls.append("file")
ssl.SSLContext.set_default_verify_paths = lambda *_: calls.append("default")
from downloader.earthengine.http import ssl_context, ssl_context_for
ssl_context_for("http://127.0.0.1:8080/token")
assert calls == [], calls
assert ssl_context_for("https://earthengine.googleapis.com/") is ssl_context() is ssl_context_for("HTTPS://x/")
assert calls == ["file"], calls
assert ssl_context_for("http://x/").verify_mode is ssl.CERT_REQUIRED
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
