"""The commands and their flags: what they print, where, and what they leave alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tests import forkserver
from tests.forkserver import Forked
from tests.harness import (
    ASSET,
    BANDS,
    ROOT,
    band_arrays,
    cli,
    command,
    compare,
    end,
    environment,
    getpixels,
    job,
    no_secret,
    running,
    same_bits,
    secrets,
    window,
    write_job,
)
from tests.oracle import PUBLIC, QUICKSTART, oracle_window

SMALL = window(0, 0, 700, 600)


@pytest.fixture
def service(emulator):
    """The flags that name the service."""
    return ["--endpoint", emulator.url, "--project", "p-test-1", "--key-file", emulator.key_file]


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("command", ["", "run", "plan", "status", "inspect", "preview", "emulate"])
def test_help_is_quick(command):
    """No heavy library is imported to print it."""
    code = (
        "import atexit, sys\n"
        "heavy = {'zarr', 'xarray', 'pyproj', 'obstore', 'aiohttp', 'httpx', 'google.auth', 'numcodecs', 'dask', 'rasterio',"
        " 'PIL', 'cryptography', 'rich', 'ruamel.yaml', 'pydantic'}\n"
        "atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from downloader.cli import main\n"
        f"raise SystemExit(main({[*([command] if command else []), '--help']!r}))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment(), cwd=ROOT
    )
    assert (ended.returncode, ended.stderr.strip()) == (0, "[]"), ended
    assert ended.stdout.lower().startswith(f"usage: downloader {command}".strip())


def test_a_command_that_does_not_exist():
    ended = cli("runn", "job.yaml")
    assert ended.status == 2
    assert "Did you mean run?" in ended.err
    assert cli("--version").out.startswith("downloader, version ")


# ---------------------------------------------------------------- plan


def test_plan_says_what_it_will_cost(emulator, job_file, mosaic):
    ended = command("plan", job_file)
    assert ended.status == 0, ended
    assert "tiles     9 in 9 requests" in ended.out
    assert "on wire   3.4 MB" in ended.out
    assert "B2, B3, B4, B8" in ended.out
    assert "EPSG:32610" in ended.out
    assert getpixels(emulator) == []
    assert not mosaic.exists()


def test_plan_as_json(emulator, job_file):
    document = command("plan", job_file, "--json").document
    estimate = document["estimate"]
    assert (estimate["tiles"], estimate["requests"], estimate["groups"]) == (9, 9, 1)
    assert estimate["disk_bytes"] == 700 * 600 * 4 * 2
    (group,) = document["groups"]
    assert [band["id"] for band in group["bands"]] == list(BANDS)
    assert group["window"] == {"column": 0, "row": 0, "width": 700, "height": 600}
    assert list(group["grid"]["transform"].values()) == [10, 0, 499980, 0, -10, 4200000]
    command("run", job_file)
    assert len(getpixels(emulator)) == estimate["requests"]


def test_plan_of_a_coarser_grid_names_the_pyramid_level(emulator, tmp_path, mosaic):
    """Fault row 60: which level and policy each band is read from."""
    values = job(emulator, mosaic, region=SMALL, grid={"resolution": 40})
    ended = command("plan", write_job(tmp_path, values))
    assert ended.status == 0, ended
    assert "pyramid level 2 of 40 m (MEAN)" in ended.out


# ---------------------------------------------------------------- status


def test_status_of_a_job_and_of_a_folder(emulator, tmp_path, job_file, mosaic):
    nothing = cli("status", job_file)
    assert nothing.status == 0, nothing
    assert nothing.out == f"{mosaic}: nothing fetched yet. Next: downloader run {job_file}\n"
    assert cli("status", job_file, "--json").document["complete"] is False
    assert cli("status", mosaic).status == 5, "a path that is no job names a mosaic"
    assert cli("run", job_file, "--set", "limits.max_requests=4", "--set", "limits.concurrency=1").status == 4
    for target in (job_file, mosaic):
        ended = cli("status", target)
        assert ended.status == 0, ended
        assert "not complete, 44.4 % stored" in ended.out
        assert f"Next: downloader run {job_file if target == job_file else 'JOB'}" in ended.out
    document = cli("status", mosaic, "--json").document
    assert document["groups"][""] == {
        "bands": list(BANDS),
        "tiles": 9,
        "stored": 4,
        "failed": 0,
        "missing": 5,
    }
    assert document["complete"] is False
    assert cli("run", job_file).status == 0
    assert cli("status", mosaic, "--json").document["complete"] is True


# ---------------------------------------------------------------- inspect


def test_inspect_prints_the_service_s_document(emulator, service):
    ended = cli("inspect", ASSET, *service, "--json")
    assert ended.status == 0, ended
    token = emulator.control("tokens", {})["access_token"]
    request = urllib.request.Request(
        f"{emulator.url}/v1/{QUICKSTART}", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        assert {key: value for key, value in ended.document.items() if key != "catalogue"} == json.load(
            answer
        )
    text = cli("inspect", ASSET, *service).out
    assert "10980×10980" in text
    assert "B8A" in text


@pytest.mark.parametrize(
    "asset", ["EMULATOR/SINUSOIDAL_WKT", "COPERNICUS/S2", "EMULATOR", "EMULATOR/BANDS_700"]
)
def test_inspect_of_other_kinds(service, asset):
    ended = command("inspect", asset, *service)
    assert ended.status == 0, ended
    assert asset in ended.out


def test_inspect_by_environment_variables(emulator):
    env = {
        "DOWNLOADER_ENDPOINT": emulator.url,
        "DOWNLOADER_PROJECT": "p-test-1",
        "DOWNLOADER_KEY_FILE": str(emulator.key_file),
    }
    assert cli("inspect", ASSET, env=env).status == 0


# ---------------------------------------------------------------- preview


def test_preview_of_a_mosaic_with_holes(emulator, tmp_path, job_file, mosaic):
    """Missing tiles are transparent, the picture is the mosaic's, stretched between the 2nd and 98th percentile."""
    command("run", job_file, "--set", "limits.max_requests=4", "--set", "limits.concurrency=1")
    picture = tmp_path / "look.png"
    ended = command("preview", mosaic, "-o", picture, "--bands", "B4,B3,B2")
    assert ended.status == 0, ended
    assert str(picture) in ended.out
    with Image.open(picture) as opened:
        image = np.asarray(opened)
    assert image.shape == (600, 700, 4)
    tiles = [(image[y : y + 256, x : x + 256, 3]) for y in (0, 256, 512) for x in (0, 256, 512)]
    assert all((tile == tile[0, 0]).all() for tile in tiles), "a tile is there or not"
    assert sorted(int(tile[0, 0]) for tile in tiles) == [0] * 5 + [255] * 4
    red = oracle_window(QUICKSTART, "B4", 0, 0, 700, 600)
    seen = image[..., 3] == 255
    low, high = np.percentile(red[seen], [2, 98])
    wanted = (np.clip((red[seen] - low) / (high - low), 0, 1) * 255 + 0.5).astype("u1")
    assert (np.abs(image[..., 0][seen].astype(int) - wanted) <= 1).all()


def test_preview_flags(emulator, tmp_path, job_file, mosaic):
    assert command("run", job_file).status == 0
    grey = tmp_path / "grey.png"
    ended = command(
        "preview", mosaic, "-o", grey, "--bands", "B8", "--size", "100", "--min", "0", "--max", "4000"
    )
    assert ended.status == 0, ended
    with Image.open(grey) as opened:
        assert opened.mode == "LA"
        assert max(opened.size) <= 100
    for flags, words in (
        (["--bands", "B8,B4"], "one or three"),
        (["--bands", "B99"], "B99"),
        (["--group", "10m"], "10m"),
    ):
        wrong = command("preview", mosaic, "-o", grey, *flags)
        assert wrong.status == 2, wrong
        assert words in wrong.err
    nowhere = command("preview", mosaic, "-o", tmp_path / "no" / "x.png")
    assert nowhere.status == 2, nowhere
    assert command("preview", tmp_path / "none.zarr", "-o", grey).status == 2


def test_preview_of_several_groups_takes_the_finest(emulator, tmp_path, mosaic):
    values = job(emulator, mosaic, source={"asset": ASSET, "bands": ["B2", "B3", "B4", "B5"]}, region=SMALL)
    assert command("run", write_job(tmp_path, values)).status == 0
    for flags, size in (([], (700, 600)), (["--group", "20m"], (350, 300)), (["--bands", "B5"], (350, 300))):
        assert command("preview", mosaic, "-o", tmp_path / "x.png", *flags).status == 0
        with Image.open(tmp_path / "x.png") as opened:
            assert opened.size == size


# ---------------------------------------------------------------- emulate


def test_emulate_serves_until_it_is_stopped(tmp_path, mosaic):
    """Its first line is its URL, its key file works, and it ends by a signal with status 0."""
    key = tmp_path / "key.json"
    with running("emulate", "--port", "0", "--write-key", key) as process:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        assert oct(key.stat().st_mode & 0o777) == "0o600"
        ended = cli("inspect", ASSET, "--endpoint", url, "--key-file", key)
        assert ended.status == 0, ended
        values = job(None, mosaic, region=SMALL, service={"endpoint": url}, auth={"key_file": str(key)})
        assert cli("run", write_job(tmp_path, values)).status == 0
        process.terminate()
        assert end(process).status == 0
    compare(mosaic)


def test_emulate_without_credentials(tmp_path):
    with running("emulate", "--auth", "optional") as process:
        url = process.stdout.readline().strip()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{url}/v1/{PUBLIC}COPERNICUS/S2") as answer:
            assert json.load(answer)["type"] == "IMAGE_COLLECTION"
    wrong = cli("emulate", "--host", "0.0.0.0")
    assert wrong.status == 2
    assert "--allow-remote" in wrong.err


# ---------------------------------------------------------------- run's flags


def test_set_overrides_any_key(emulator, tmp_path, mosaic, job_file):
    other = tmp_path / "other.zarr"
    flags = [
        *("--set", f"mosaic.path={other}", "--set", "source.bands=[B8]", "--set", "region.window.width=300"),
        *("--set", "limits={concurrency: 3, memory: 512MiB}"),
    ]
    ended = cli("run", job_file, *flags)
    assert ended.status == 0, ended
    assert not mosaic.exists()
    assert {name: array.shape for name, array in band_arrays(other).items()} == {"B8": (600, 300)}
    compare(other)
    assert emulator.control("state")["max_in_flight"]["total"] <= 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("limits.concurency=3", ["limits.concurency", "did you mean concurrency?"]),
        ("limits.concurrency", ["KEY=VALUE"]),
        ("limits.concurrency=0", ["limits.concurrency"]),
        ("limits.concurrency=[", ["limits.concurrency", "YAML"]),
        ("=3", ["KEY=VALUE"]),
    ],
)
def test_set_is_checked_as_the_file_is(job_file, text, words):
    ended = command("plan", job_file, "--set", text)
    assert ended.status == 2, ended
    assert "--set" in ended.err
    assert all(word in ended.err for word in words), ended


def test_quiet_and_verbose(emulator, tmp_path, job_file, mosaic):
    quiet = cli("run", job_file, "-q")
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")
    emulator.control("configure", {"faults": [{"fault": "unavailable-503", "times": 1, "above_pixels": 1}]})
    verbose = cli("run", job_file, "-vv", "--overwrite")
    assert verbose.status == 0, verbose
    assert verbose.err.count(" kB in ") == 9, "every request is said"
    assert "503" in verbose.err
    assert "retries: 1" in verbose.out
    no_secret(secrets(emulator.key_file), mosaic, verbose)
    shown = cli("run", job_file, "--set", f"mosaic.path={tmp_path / 'other.zarr'}")
    assert "9 tiles in 9 requests, 3.4 MB" in shown.err, "what it will cost is said before it starts"
    failing = cli("run", job_file, "-q", "--set", "source.asset=NONE")
    assert (failing.status, failing.out) == (2, "")
    assert "NONE" in failing.err


def test_report_as_json(emulator, tmp_path, job_file, mosaic):
    report = tmp_path / "report.json"
    ended = cli("run", job_file, "--report", report)
    assert ended.status == 0, ended
    document = json.loads(report.read_text())
    assert document["mosaic"] == str(mosaic)
    assert document["service"].startswith("emulator ")
    assert document["peak_memory_bytes"] > 2**24
    assert document["failed"] == []
    for name, word in (("r.pdf", ".html, .json, .txt"), ("no/r.json", "does not exist")):
        wrong = cli("run", job_file, "--report", tmp_path / name)
        assert wrong.status == 2, wrong
        assert word in wrong.err


def test_a_run_prints_its_report_as_json(emulator, job_file, mosaic):
    """On standard output and nothing else there; also where tiles are missing, and without words by -q."""
    few = ("--set", "limits.max_requests=4", "--set", "limits.concurrency=1")
    ended = cli("run", job_file, "--json", *few)
    assert ended.status == 4
    stopped = json.loads(ended.out)
    assert (stopped["state"], stopped["tiles_stored"]) == ("stopped", 4)
    ended = cli("run", job_file, "--json", "-q")
    assert json.loads(ended.out)["state"] == "complete"
    assert ended.err == ""
    assert all(key == key.lower() for key in stopped)


# ---------------------------------------------------------------- terminals and pipes


def test_no_terminal_no_escapes(job_file):
    ended = cli("run", job_file, env={"COLUMNS": "40", "TERM": "xterm-256color"})
    assert ended.status == 0, ended
    assert "\x1b" not in ended.out + ended.err
    assert "\r" not in ended.out + ended.err


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_a_bar_on_a_terminal(emulator, job_file, mosaic, columns):
    """On a real pseudo-terminal: it shows tiles and rates, stays within the width, and is gone at the end."""
    import pty
    import struct
    import termios
    from fcntl import ioctl

    emulator.control("configure", {"latency_ms": 300})
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "downloader", "run", str(job_file), "--set", "limits.concurrency=2"]
    process = Forked(
        command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment(TERM="xterm-256color"), cwd=ROOT
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    assert " %" in text
    assert "complete: 9 of 9 tiles" in text.replace("\r\n", "")
    if columns >= 80:
        assert "MB/s" in text
        assert "/2 in flight" in text
    compare(mosaic)


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_closed_pipe_changes_nothing(emulator, job_file, mosaic, command, stream):
    """Whoever reads goes away at once; a job goes on and ends as it would have."""
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | {stream: write}
    process = Forked(
        [sys.executable, "-m", "downloader", command, str(job_file)], env=environment(), cwd=ROOT, **streams
    )
    os.close(write)
    assert process.wait() == 0
    if command == "run":
        compare(mosaic)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.parametrize("ask", [Forked.poll, Forked.wait])
def test_a_lost_exit_status_is_not_taken_for_success(ask):
    """Of the tests' own processes."""
    process = Forked([sys.executable, "-m", "downloader", "--version"], stdout=subprocess.DEVNULL)
    os.waitpid(process.pid, 0)
    with pytest.raises(RuntimeError, match="is lost"):
        ask(process)
    process.returncode = 0  # so that nobody else asks


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_processes_started_together_are_children_of_this_one(monkeypatch):
    """Also the first ones, while none has started the server yet: two servers took each other's children away."""
    monkeypatch.setattr(forkserver, "_server", None)
    command = [sys.executable, "-m", "downloader", "--version"]

    def run(_number: int) -> int:
        return Forked(command, stdout=subprocess.DEVNULL, env=environment()).wait()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(16))) == [0] * 16
    forkserver._server._socket.close()
    forkserver._server._process.wait()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_descriptor_changes_nothing(job_file, mosaic, closed):
    line = f"exec {sys.executable} -m downloader run {job_file} {closed}"
    ended = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=False, env=environment(), cwd=ROOT
    )
    assert ended.returncode == 0, ended
    compare(mosaic)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_under_standard_output(job_file, mosaic):
    """What a job did does not depend on whether it could be told; a plan that cannot be told did nothing."""
    for word, status in (("run", 0), ("plan", 4)):
        line = f"exec {sys.executable} -m downloader {word} {job_file} > /dev/full"
        ended = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, check=False, env=environment(), cwd=ROOT
        )
        assert ended.returncode == status, ended
        assert "Traceback" not in ended.stderr
    compare(mosaic)


# ---------------------------------------------------------------- what goes over the wire


def test_the_first_tile_is_the_quickstart_s_request(tmp_path):
    """`configs/quickstart.yaml` with request.tiles 1: the quickstart's body plus CRS and explicit full affine."""
    from tests.recorder import Recorder

    with Recorder() as recorder:
        flags = [
            "--endpoint",
            recorder.url,
            "--set",
            "auth.access_token_env=A_TOKEN",
            "--set",
            "limits.retries=0",
        ]
        flags += ["--set", f"mosaic.path={tmp_path / 'mosaic.zarr'}", "--set", "request.tiles=1"]
        flags += ["--set", "limits.concurrency=1", "--set", "limits.max_requests=1", "--project", "p-test-1"]
        ended = cli("run", ROOT / "configs" / "quickstart.yaml", *flags, env={"A_TOKEN": "ya29.test-token"})
        assert ended.status == 4, ended
        canary, first = (r for r in recorder.requests if r.method == "POST")
    assert first.path == f"/v1/{QUICKSTART}:getPixels"
    assert first.headers["authorization"] == "Bearer ya29.test-token"
    assert first.headers["x-goog-user-project"] == "p-test-1"
    assert first.headers["content-type"] == "application/json"
    assert first.headers["user-agent"].startswith("earthengine-downloader/")
    affine = {
        "scaleX": 10,
        "shearX": 0,
        "translateX": 499980,
        "shearY": 0,
        "scaleY": -10,
        "translateY": 4200000,
    }
    grid = {"dimensions": {"width": 256, "height": 256}, "affineTransform": affine, "crsCode": "EPSG:32610"}
    assert json.loads(first.body) == {"fileFormat": "NPY", "bandIds": ["B2", "B3", "B4", "B8"], "grid": grid}
    asked = json.loads(canary.body)
    assert asked["grid"]["dimensions"] == {"width": 1, "height": 1}
    assert asked["bandIds"] == ["B2", "B3", "B4", "B8"]
    array = band_arrays(tmp_path / "mosaic.zarr")["B2"]
    same_bits(array[:256, :256], oracle_window(QUICKSTART, "B2", 0, 0, 256, 256), "first tile")
