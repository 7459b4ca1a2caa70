"""The pytest plugin, as authors of other software meet it: installed, and silent until it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from earthengine_emulator import Emulator, EmulatorProcess

THEIRS = """
import json, os, urllib.request
import pytest

ASSET = "projects/earthengine-public/assets/LANDSAT"

def get(emulator, path):
    request = urllib.request.Request(f"{emulator.url}/v1/{path}", headers={"Authorization": "Bearer any"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)

def test_first(earthengine_emulator):
    assert get(earthengine_emulator, ASSET)["type"] == "FOLDER"
    assert len(earthengine_emulator.requests("assets.get")) == 1
    earthengine_emulator.configure(faults=[{"fault": "internal-500", "on": "asset"}])
    with pytest.raises(urllib.error.HTTPError):
        get(earthengine_emulator, ASSET)
    os.environ["FIRST"] = str(earthengine_emulator.pid)

def test_second_begins_anew_with_the_same_process(earthengine_emulator):
    assert earthengine_emulator.requests() == []
    assert get(earthengine_emulator, ASSET)["id"] == "LANDSAT"
    assert os.environ["FIRST"] == str(earthengine_emulator.pid)

def test_overridden(earthengine_emulator):
    assert earthengine_emulator.statistics()["settings"]["quota_concurrency"] == 3
"""
CONFTEST = """
import pytest

@pytest.fixture(scope="session")
def earthengine_emulator_arguments():
    from earthengine_emulator import arguments
    return arguments(auth="optional", quota_concurrency=3)
"""


def theirs(folder, *arguments):
    """Another project's test run."""
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_it_is_installed_with_the_package():
    (found,) = [ep for ep in entry_points(group="pytest11") if ep.name == "earthengine_emulator"]
    assert found.value == "earthengine_emulator.pytest_plugin"


def test_fixtures(tmp_path):
    (tmp_path / "test_theirs.py").write_text(THEIRS)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    done = theirs(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
    assert "warning" not in done.stdout.lower()


def test_who_does_not_use_it_pays_nothing(tmp_path):
    """No module of weight is loaded by its presence, and the strictest settings have nothing to warn about."""
    (tmp_path / "test_alone.py").write_text(
        "import sys\n"
        "def test_modules():\n"
        "    heavy = {'aiohttp', 'pyproj', 'rasterio', 'earthengine_emulator.launch'}\n"
        "    assert not heavy & set(sys.modules)\n"
    )
    done = theirs(tmp_path, "-W", "error", "--strict-config", "--strict-markers")
    assert done.returncode == 0, done.stdout + done.stderr


def test_context_manager():
    assert Emulator is EmulatorProcess
    with Emulator() as emulator:
        emulator.configure(latency_ms=1, faults=[{"fault": "html-503", "times": 1}])
        state = emulator.statistics()
        assert state["settings"]["latency_ms"] == 1
        assert json.loads(emulator.key_file.read_text())["type"] == "service_account"
        with pytest.raises(RuntimeError, match="unknown switch"):
            emulator.configure(nothing=1)
        emulator.reset()
        assert emulator.statistics()["settings"]["faults"] == []
