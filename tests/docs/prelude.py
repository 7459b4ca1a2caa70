"""Runs what documentation shows with an emulator in the service's place.

python prelude.py SCRIPT|-m MODULE [ARGUMENT…]: as Python would. Without arguments: blocks of Python, one a line of JSON
`[source name, first line, code]`, are run in one namespace, as a notebook's cells; the answer to each is a line of JSON,
`[whether it ended well, what it printed]`.

Where the real service would be asked, or an emulator be started with no options of its own, the one of EMULATOR_URL is.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

# As where Python is started in the folder: modules of that folder, none of the tests'.
sys.path[0] = ""


class Shared:
    """An emulator that runs already, as `EmulatorProcess`; with options a real one."""

    def __new__(cls, extra: Any = (), *, control: bool = True) -> Any:
        return super().__new__(cls) if not extra else cls.real(extra, control=control)

    real: Any = None
    """The class in whose place this one is."""
    url = os.environ["EMULATOR_URL"]
    high_volume_url = os.environ["EMULATOR_HIGH_VOLUME_URL"]
    key_file = Path(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])

    def close(self) -> None:
        pass


def put_in_place() -> None:
    """Replace the two addresses and the start of an emulator."""
    from downloader.earthengine import names
    from earthengine_emulator import launch

    Shared.real, launch.EmulatorProcess = launch.EmulatorProcess, Shared
    names.STANDARD, names.HIGH_VOLUME = Shared.url, Shared.high_volume_url


def aim_the_official_client() -> None:
    """`ee.Initialize()` goes to the emulator, with its key file, unless it says where to."""
    import ee

    really = ee.Initialize
    if really.__module__ == __name__:
        return

    def initialize(credentials: Any = None, **more: Any) -> None:
        if not {"url", "opt_url"} & more.keys():
            email = json.loads(Shared.key_file.read_text())["client_email"]
            credentials = ee.ServiceAccountCredentials(email, str(Shared.key_file))
            more |= {"url": Shared.url, "project": more.get("project") or "p-test-1"}
        really(credentials, **more)

    ee.Initialize = initialize


def cell(names: dict[str, Any], source: str, line: int, code: str) -> tuple[bool, str]:
    """Run one block; await at its top level is allowed."""
    if "import ee\n" in code:
        aim_the_official_client()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            compiled = compile("\n" * (line - 1) + code, source, "exec", flags=flags, dont_inherit=True)
            if compiled.co_flags & inspect.CO_COROUTINE:
                asyncio.run(eval(compiled, names))
            else:
                exec(compiled, names)
        except BaseException:  # noqa: BLE001  # whatever it is, it is told of
            return False, out.getvalue() + traceback.format_exc()
    return True, out.getvalue()


def main() -> None:
    put_in_place()
    if arguments := sys.argv[1:]:
        module = arguments[0] == "-m"
        sys.argv = arguments[1:] if module else arguments
        run = runpy.run_module if module else runpy.run_path
        run(sys.argv[0], run_name="__main__", **({"alter_sys": True} if module else {}))
        return
    names: dict[str, Any] = {"__name__": "__main__"}
    # Answers have a pipe of their own: what a child process writes goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for order in sys.stdin:
        print(json.dumps(cell(names, *json.loads(order))), file=answers, flush=True)


if __name__ == "__main__":
    main()
