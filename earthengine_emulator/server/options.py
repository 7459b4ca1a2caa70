"""Command-line flags and the configuration file of an emulator."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from earthengine_emulator.api.settings import FILLS, STRICT, Settings, SettingsError

STRICT_VARIABLE: Final = "EARTHENGINE_EMULATOR_STRICT"
PROG: Final = "python -m earthengine_emulator"


@dataclass(frozen=True, slots=True)
class Options:
    """The command line and configuration file of an emulator, parsed."""

    host: str
    allow_remote: bool
    """Other machines, and names that are not this machine's, are answered."""
    port: int
    control_port: int | None
    """None: no control API."""
    write_key: Path | None
    rasters: tuple[tuple[str, Path], ...]
    """(asset id, GeoTIFF or Zarr store)."""
    folders: tuple[tuple[str, Path], ...]
    """(asset id of a collection, folder of GeoTIFFs)."""
    tokens: tuple[tuple[str, str], ...]
    """(bearer token, its project), good for as long as the emulator runs."""
    settings: Settings
    exit_with_stdin: bool


class UsageError(Exception):
    """A flag or file that cannot be followed; the message says which and why."""


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s [OPTIONS]",
        description="An Earth Engine REST API on this machine. Prints its base URL, then serves until stopped.",
        epilog=f"Examples:\n  {prog} --port 8080 --write-key key.json\n"
        f"  {prog} --raster projects/my-project/assets/dem=dem.tif\n"
        f"  {prog} --quota-concurrency 10 --latency-ms 250 --fault html-503",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="0 takes any free port")
    add("--allow-remote", action="store_true", help="let --host be an address that other machines can reach")
    add("--control-port", type=int, help="serve the control API there; 0 takes any free port")
    add("--auth", choices=("required", "optional"), help="whether a token is needed")
    add("--write-key", type=Path, metavar="FILE", help="save a service-account key file that works here")
    add(
        "--token",
        action="append",
        default=[],
        metavar="TOKEN[=PROJECT]",
        help="a bearer token that never expires",
    )
    add("--raster", action="append", default=[], metavar="ID=FILE", help="serve a GeoTIFF or a Zarr store")
    add(
        "--folder",
        action="append",
        default=[],
        metavar="ID=DIR",
        help="serve a folder of GeoTIFFs as an image collection",
    )
    add("--config", type=Path, metavar="FILE", help="switches, rasters and tokens from a JSON file")
    add("--latency-ms", type=float, metavar="N", help="milliseconds that each answer waits")
    add("--latency-ms-per-mb", type=float, metavar="N", help="further milliseconds per MB of pixels")
    add(
        "--quota-concurrency",
        type=int,
        metavar="N",
        help="requests in flight per host and project; 0: no limit",
    )
    add("--quota-per-minute", type=int, metavar="N", help="requests per minute and project; 0: no limit")
    add("--token-life", type=float, metavar="S", dest="token_life_s", help="seconds that new tokens live")
    add("--fill", choices=FILLS, help="what masked pixels of signed and float bands hold")
    add(
        "--strict",
        action=argparse.BooleanOptionalAction,
        default=os.environ.get(STRICT_VARIABLE, "") not in ("", "0"),
        help=f"take the harsher reading of everything that is not documented; {STRICT_VARIABLE}=1 says so too",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="SWITCH=VALUE",
        dest="switches",
        help="any switch, its value as JSON or plain text",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME|JSON",
        dest="faults",
        help='switch on a fault, for instance html-503 or \'{"fault": "memory-400", "above_pixels": 65536}\'',
    )
    add(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="headers",
        help="a header of every answer",
    )
    add("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    return parser


def option_help() -> list[tuple[str, str]]:
    """Return (option, help) of each option, for a command line that shows them in its own way."""
    found = []
    for action in _parser(PROG)._actions:  # noqa: SLF001  # argparse has no public list of them
        if not isinstance(action, argparse._HelpAction):  # noqa: SLF001  # as above
            value = action.metavar or "|".join(action.choices or ()) or action.dest.upper()
            names = "/".join(action.option_strings)
            text = action.help or ""
            found.append(
                (names if action.nargs == 0 else f"{names} {value}", f"{text[:1].upper()}{text[1:]}.")
            )
    return found


SWITCHES: Final = (
    "auth",
    "latency_ms",
    "latency_ms_per_mb",
    "quota_concurrency",
    "quota_per_minute",
    "token_life_s",
    "fill",
)
"""Switches that have a flag; flags go before the file, the file before `--strict`."""


def parse(arguments: Sequence[str] | None = None, prog: str = PROG) -> Options:
    """Return options from command-line arguments.

    Raises:
        UsageError: for values that cannot be followed. Unknown flags end the process, as argparse does.
    """
    given = _parser(prog).parse_args(arguments)
    file = _file(given.config) if given.config else {}
    rasters = [_pair(text, "--raster") for text in given.raster]
    rasters += [(id_, path) for id_, path in file.pop("rasters", {}).items()]
    tokens = [(text.partition("=")[0], text.partition("=")[2] or "p-test-1") for text in given.token]
    tokens += [(token, project) for token, project in file.pop("tokens", {}).items()]
    strict = bool(file.pop("strict", False)) or given.strict
    folders = [_pair(text, "--folder") for text in given.folder]
    folders += [(id_, path) for id_, path in file.pop("folders", {}).items()]
    flags: dict[str, Any] = {
        name: getattr(given, name) for name in SWITCHES if getattr(given, name) is not None
    }
    flags |= {name: _value(text) for name, text in (_pair(one, "--set") for one in given.switches)}
    if given.faults:
        flags["faults"] = [_fault(text) for text in given.faults]
    if given.headers:
        flags["headers"] = dict(_pair(text, "--header") for text in given.headers)
    try:
        settings = Settings().changed({**(STRICT if strict else {}), **file, **flags})
    except SettingsError as error:
        raise UsageError(str(error)) from error
    if not given.allow_remote and not _is_loopback(given.host):
        raise UsageError(
            f"--host {given.host} can be reached from other machines; the emulator has no real protection. "
            "Use 127.0.0.1, or add --allow-remote if that is what you want."
        )
    return Options(
        host=given.host,
        allow_remote=given.allow_remote,
        port=given.port,
        control_port=given.control_port,
        write_key=given.write_key,
        rasters=tuple((id_, Path(path)) for id_, path in rasters),
        folders=tuple((id_, Path(path)) for id_, path in folders),
        tokens=tuple(tokens),
        settings=settings,
        exit_with_stdin=given.exit_with_stdin,
    )


def _file(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"--config {path}: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"--config {path}: it must hold one JSON object")
    return document


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text)
    except ValueError:
        return text


def _fault(text: str) -> dict[str, Any]:
    """Return a fault by its name alone, or as the JSON object of the control API."""
    value = _value(text)
    return value if isinstance(value, dict) else {"fault": str(value)}


_FORMS: Final = {
    "--raster": "ID=FILE",
    "--folder": "ID=DIR",
    "--set": "SWITCH=VALUE",
    "--header": "NAME=VALUE",
}


def _pair(text: str, flag: str) -> tuple[str, str]:
    id_, equals, path = text.partition("=")
    if not (id_ and equals and path):
        raise UsageError(f"{flag} takes {_FORMS[flag]}, not '{text}'")
    return id_, path


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
