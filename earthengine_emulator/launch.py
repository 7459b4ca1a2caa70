"""An emulator in a process of its own, for tests and for jobs that ask for one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import IO, Any, Final, Self

_FLAGS: Final = ("host", "port", "control_port", "write_key", "config")
"""Arguments that are flags of the command line; all others are switches."""
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 5.0


class LaunchError(RuntimeError):
    """The emulator did not start; the message holds what it said."""


def arguments(
    *,
    rasters: Mapping[str, str | Path] | None = None,
    folders: Mapping[str, str | Path] | None = None,
    tokens: Mapping[str, str] | None = None,
    strict: bool | None = None,
    **switches: Any,
) -> list[str]:
    """Return command-line arguments of an emulator.

    Args:
        rasters: asset id → GeoTIFF or Zarr store.
        folders: asset id of a collection → folder of GeoTIFFs.
        tokens: bearer token → project.
        strict: the harsher reading of everything inferred; None leaves it to the environment.
        switches: any switch, such as `latency_ms=250`, `quota_per_minute=0`, `auth="optional"`,
            `faults=[{"fault": "html-503", "times": 3}]`; and flags that are none, such as `port=8085`.
    """
    result = []
    for name, value in switches.items():
        if value is None:
            continue
        flag = name in _FLAGS
        result.append(f"--{name.replace('_', '-')}={value}" if flag else f"--set={name}={json.dumps(value)}")
    result += [f"--folder={id_}={path}" for id_, path in (folders or {}).items()]
    result += [f"--raster={id_}={path}" for id_, path in (rasters or {}).items()]
    result += [f"--token={token}={project}" for token, project in (tokens or {}).items()]
    return result if strict is None else [*result, "--strict" if strict else "--no-strict"]


class EmulatorProcess:
    """A running emulator; a context manager that ends it.

    It listens on a free port of the loopback address and dies with the process that started it, also when that is
    killed: its standard input ends then.

    Args:
        extra: command-line arguments, for instance those of `arguments`.
        control: whether to serve the control API.
    """

    url: str
    """Base URL without a trailing slash; here the emulator plays the standard endpoint."""
    high_volume_url: str
    """The same emulator as the high-volume endpoint: another concurrency counter (docs/contract.md §5.2)."""
    control_url: str | None
    """Base URL of the control API."""
    key_file: Path
    """A service-account key file that works against this emulator, mode 0600, removed at the end."""

    def __init__(self, extra: Sequence[str] = (), *, control: bool = True) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="earthengine-emulator-"))
        self.key_file = self._folder / "key.json"
        command = [
            *(sys.executable, "-P", "-m", "earthengine_emulator", "--exit-with-stdin", "--port=0"),
            *(["--control-port=0"] if control else []),
            *extra,
        ]
        if not any(argument.startswith("--write-key") for argument in extra):
            command.append(f"--write-key={self.key_file}")
        # The child must find this very package, wherever the parent found it, and nothing of the current folder.
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        try:
            with (self._folder / "stderr").open("wb") as said:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    start_new_session=True,
                    env=environment,
                )
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        try:
            self.url = self._line()
            self.control_url = self._line().removeprefix("control ") if control else None
        except BaseException:
            self.close()
            raise
        self.high_volume_url = self.url.replace("//127.0.0.1:", "//localhost:")

    def _line(self) -> str:
        """Return the next line that the process prints."""
        stdout: IO[bytes] | None = self._process.stdout
        watchdog = Timer(START_TIMEOUT_S, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            line = stdout.readline().decode().strip() if stdout is not None else ""
        finally:
            watchdog.cancel()
        if not line:
            self._process.wait(START_TIMEOUT_S)
            said = (self._folder / "stderr").read_text(errors="replace").strip()
            raise LaunchError(f"the emulator did not start (status {self._process.returncode}): {said}")
        return line

    @property
    def pid(self) -> int:
        """Process id, for measurements."""
        return self._process.pid

    def close(self) -> None:
        """End the process and remove its files; harmless when repeated."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def control(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the control API: POST with a body, GET without; the JSON it answers with.

        Raises:
            RuntimeError: the control API is off, or refuses.
        """
        if self.control_url is None:
            raise RuntimeError("this emulator was started without its control API")
        request = urllib.request.Request(  # noqa: S310 - our own process on the loopback address
            f"{self.control_url}/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=STOP_TIMEOUT_S) as answer:
                parsed: dict[str, Any] = json.load(answer)
                return parsed
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.read().decode()}") from error

    def configure(self, **switches: Any) -> None:
        """Change switches while it runs: `configure(faults=[{"fault": "html-503", "times": 3}], latency_ms=200)`."""
        self.control("configure", switches)

    def requests(self, method: str | None = None) -> list[dict[str, Any]]:
        """Return records of the requests since the last reset, of one method such as `assets.getPixels` or of all."""
        records: list[dict[str, Any]] = self.control("requests")["requests"]
        return [record for record in records if method in (None, record["method"])]

    def statistics(self) -> dict[str, Any]:
        """Return counts since the last reset."""
        return self.control("state")

    def reset(self) -> None:
        """Forget what was recorded; switches, quotas and assets become as they were at the start."""
        self.control("reset", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


Emulator = EmulatorProcess
"""The short name, for tests of other software."""
