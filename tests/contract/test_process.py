"""The emulator as a process: independence, start, end, key file, switches."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from earthengine_emulator import EmulatorProcess, LaunchError, arguments
from tests.contract.conftest import Api, ends, grid
from tests.oracle import QUICKSTART

COMMAND = [sys.executable, "-m", "earthengine_emulator"]


def test_it_shares_no_code_with_the_client(api, emulator):
    api.pixels(bandIds=["B2"], grid=grid(crsCode="EPSG:4326"))
    ours = {
        name
        for name in emulator.control("state")["modules"]
        if name.split(".")[0] in {"downloader", "earthengine_emulator"}
    }
    assert "earthengine_emulator" in ours
    assert not {name for name in ours if name.split(".")[0] == "downloader"}


def test_another_one_beside_it_has_a_port_of_its_own(emulator):
    with EmulatorProcess(control=False) as other:
        assert other.control_url is None
        assert other.url != emulator.url


def test_the_key_file_is_private_and_goes_away():
    with EmulatorProcess() as process:
        mode = process.key_file.stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
        key = json.loads(process.key_file.read_text())
        assert key["type"] == "service_account"
        assert key["token_uri"] == f"{process.url}/token"
    assert not process.key_file.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_quietly(number):
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        url = process.stdout.readline().decode().strip()
        assert httpx.get(f"{url}/v1/x", trust_env=False).status_code == 404
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, b"", b"")


def test_it_ends_with_its_standard_input():
    command = [*COMMAND, "--exit-with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"http://127.0.0.1:")
        process.stdin.close()
        assert process.wait(10) == 0


def test_it_dies_with_a_killed_parent(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from earthengine_emulator import EmulatorProcess\n"
        "e = EmulatorProcess(control=False)\n"
        "print(e.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, env=environment)
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _running(pid):
        time.sleep(0.02)
    assert not _running(pid)


def _running(pid):
    """Whether a process lives; one that is dead but not yet reaped by its new parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_key_file_is_used_again(tmp_path):
    path = tmp_path / "key.json"
    keys = []
    for _ in range(2):
        with EmulatorProcess([f"--write-key={path}"]):
            keys.append(json.loads(path.read_text()))
    assert keys[0]["private_key"] == keys[1]["private_key"]
    assert [p.name for p in tmp_path.iterdir()] == ["key.json"]


@pytest.mark.parametrize("content", ["{}", "not json", '{"client_email": "real@p.iam.gserviceaccount.com"}'])
def test_a_foreign_key_file_is_left_alone(tmp_path, capsys, content):
    path = tmp_path / "key.json"
    path.write_text(content)
    assert ends([f"--write-key={path}"]) == 2
    assert "name another file" in capsys.readouterr().err
    assert path.read_text() == content


def test_what_a_process_says_is_the_error_of_whoever_starts_it(tmp_path):
    path = tmp_path / "key.json"
    path.write_text("{}")
    with pytest.raises(LaunchError, match="name another file"):
        EmulatorProcess([f"--write-key={path}"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--host", "0.0.0.0"], "--allow-remote"),
        (["--host", "example.com"], "--allow-remote"),
        (["--raster", "nothing"], "ID=FILE"),
        (["--raster", "a=/does/not/exist.tif"], "exist.tif"),
        (["--config", "/does/not/exist.json"], "--config"),
        (["--latency-ms", "-1"], "latency_ms"),
    ],
)
def test_wrong_flags_are_explained(capsys, flags, said):
    assert ends(flags) == 2
    assert said in capsys.readouterr().err


def test_a_process_ends_with_the_status_of_its_flags():
    done = subprocess.run([*COMMAND, "--raster=x"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith("python -m earthengine_emulator: --raster ")
    assert "Traceback" not in done.stderr


def test_switches_come_from_a_file_and_flags_go_first(tmp_path):
    path = tmp_path / "emulator.json"
    path.write_text(
        json.dumps({"fill": "min", "latency_ms": 7, "tokens": {"t": "p-other-1"}, "strict": True})
    )
    with EmulatorProcess([f"--config={path}", *arguments(latency_ms=3)]) as process:
        settings = process.control("state")["settings"]
        assert (settings["fill"], settings["latency_ms"]) == ("min", 3)
        assert settings["header_padding"] == 16
        other = Api(process, token="t")
        assert other.get(f"/v1/{QUICKSTART}").status_code == 200
        other.client.close()


def test_optional_authentication():
    with EmulatorProcess(arguments(auth="optional")) as process:
        other = Api(process)
        assert other.get(f"/v1/{QUICKSTART}", Authorization=None).status_code == 200
        assert other.get(f"/v1/{QUICKSTART}", Authorization="Bearer any-token").status_code == 200
        old = process.control("tokens", {"life_s": 0})["access_token"]
        assert other.get(f"/v1/{QUICKSTART}", Authorization=f"Bearer {old}").status_code == 401
        other.client.close()


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("configure", {"latency": 3}, "unknown switch 'latency'"),
        ("configure", {"fill": "seven"}, "fill must be one of"),
        ("configure", {"assets": {"nothing": None}}, "there is no 'nothing'"),
        ("configure", {"restricted": 1}, "true or false"),
        ("nothing", {}, "no POST /nothing here"),
    ],
)
def test_the_control_api_explains_itself(emulator, path, body, said):
    with pytest.raises(RuntimeError, match=said):
        emulator.control(path, body)


def test_the_control_api_is_not_for_web_pages(emulator):
    answer = httpx.post(f"{emulator.control_url}/reset", content="{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_switches_are_put_back(api, emulator):
    emulator.control("configure", {"latency_ms": 5})
    emulator.control("reset", {})
    assert emulator.control("state")["settings"]["latency_ms"] == 0
