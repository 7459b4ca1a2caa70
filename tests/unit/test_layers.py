"""The house's one-way flow (DESIGN §3), held by the import graph: what a module imports, at its top or inside a function.

values ← seams ← formats ← parts ← engine ← doors        beside: the emulator, which knows only HTTP
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "downloader"

LAYERS = {
    "values": (
        "_version",
        "crs",
        "errors",
        "expression",
        "filters",
        "grid",
        "image",
        "instant",
        "job",
        "nodata",
        "notice",
        "outcome",
        "planning",
        "region",
    ),
    "seams": ("seams",),
    "formats": ("npy",),
    "parts": ("earthengine", "flow", "mosaic", "progress"),
    "engine": (
        "allowance",
        "collecting",
        "compute",
        "connecting",
        "drift",
        "executors",
        "frozen",
        "gather",
        "nearest",
        "overviewing",
        "points",
        "resident",
        "sampling",
        "selection",
        "stop",
        "vector",
        "versions",
        "worker",
    ),
    "doors": (
        "__init__",
        "__main__",
        "api",
        "blocking",
        "browse",
        "cli",
        "describe",
        "examination",
        "excerpt",
        "exporting",
        "geotiff",
        "initial",
        "plantext",
        "probing",
        "prospect",
        "page",
        "quicklook",
        "report",
        "resample",
        "run",
        "session",
        "streaming",
        "verifying",
    ),
}
ORDER = {room: rank for rank, rooms in enumerate(LAYERS.values()) for room in rooms}
EMULATOR = "emulator"
LAUNCHERS = {"connecting", "cli"}
"""Who may start an emulator."""

# What the pure layer may not know: I/O, clocks, event loops, and the libraries of the layers above.
IMPURE = {
    "aiohttp", "anyio", "asyncio", "google", "httpx", "numcodecs", "obstore", "random", "requests", "rich", "signal", "socket",
    "subprocess", "tenacity", "threading", "time", "urllib", "xarray", "zarr",
}  # fmt: skip


GUARDS = {("downloader.planning.shape", "threading")}
"""A lock around a C library that two threads may not use together; no thread is started."""


@cache
def modules() -> dict[str, Path]:
    """Dotted name → file of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)] = path
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def absolute(name: str, node: ast.ImportFrom) -> str:
    """What `from … import` names in module `name`, its dots resolved."""
    if node.level == 0:
        return str(node.module)
    package = name.split(".") if modules()[name].name == "__init__.py" else name.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


@cache
def imports(name: str) -> frozenset[str]:
    """Every module that `name` imports at run time; what only a type checker reads does not count."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        if is_type_checking(node):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = absolute(name, node)
            found.add(origin)
            found.update(
                f"{origin}.{alias.name}" for alias in node.names if f"{origin}.{alias.name}" in modules()
            )
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(ast.parse(modules()[name].read_text(encoding="utf-8")))
    return frozenset(found)


def room(name: str) -> str | None:
    """The room of a module of this package; None for others'."""
    parts = name.split(".")
    if parts[0] != "downloader":
        return None
    return parts[1] if len(parts) > 1 else "__init__"


def edges() -> list[tuple[str, str]]:
    """(module, imported module) inside the package, other rooms only."""
    return [
        (name, target)
        for name in modules()
        for target in sorted(imports(name))
        if room(target) is not None and room(target) != room(name)
    ]


def test_every_room_has_a_layer() -> None:
    rooms = {room(name) for name in modules()} - {EMULATOR}
    assert rooms == set(ORDER), "a new room needs a place in LAYERS, one that is gone needs none"


def test_imports_lead_downward() -> None:
    upward = [
        f"{name} ({layer_of(name)}) imports {target} ({layer_of(target)})"
        for name, target in edges()
        if {room(name), room(target)} <= set(ORDER) and ORDER[str(room(target))] > ORDER[str(room(name))]
    ]
    assert not upward


def layer_of(name: str) -> str:
    return next((layer for layer, rooms in LAYERS.items() if room(name) in rooms), "beside")


def test_parts_do_not_know_each_other() -> None:
    assert not [
        f"{name} imports {target}"
        for name, target in edges()
        if room(name) in LAYERS["parts"] and room(target) in LAYERS["parts"]
    ]


def test_the_emulator_knows_nothing_of_the_client() -> None:
    assert not [
        f"{name} imports {target}"
        for name, target in edges()
        if room(name) == EMULATOR and not (room(target) == "_version" or target == "downloader")
    ]


def test_only_doors_and_the_run_know_the_emulator_and_only_how_to_launch_it() -> None:
    known = [(name, target) for name, target in edges() if room(target) == EMULATOR]
    assert known, "somebody starts it"
    assert {room(name) for name, _ in known} <= LAUNCHERS
    assert {target for _, target in known} <= {
        "downloader.emulator",
        "downloader.emulator.launch",
        "downloader.emulator.options",
        "downloader.emulator.__main__",
    }


def test_values_are_pure() -> None:
    impure = [
        f"{name} imports {target}"
        for name in modules()
        if room(name) in LAYERS["values"]
        for target in sorted(imports(name))
        if target.split(".")[0] in IMPURE and (name, target) not in GUARDS
    ]
    assert not impure


def test_the_checks_would_see_an_import_inside_a_function(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The graph is only worth something if nothing can hide from it."""
    hidden = tmp_path / "hidden.py"
    hidden.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from downloader.cli import main\n"
        "def f():\n    from downloader.mosaic import store\n    import time\n"
    )
    monkeypatch.setitem(modules(), "downloader.grid_hidden", hidden)
    found = imports("downloader.grid_hidden")
    assert {"downloader.mosaic", "time"} <= found
    assert "downloader.cli" not in found


# Start-up --------------------------------------------------------------------------------------------------

HEAVY = (
    "aiohttp",
    "google",
    "httpx",
    "numcodecs",
    "numpy",
    "obstore",
    "pydantic",
    "pyproj",
    "rich",
    "ruamel",
    "xarray",
    "zarr",
)


def modules_after(code: str) -> set[str]:
    """Top-level names in `sys.modules` after running `code` in a fresh interpreter."""
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import downloader",
        "import downloader; dir(downloader); downloader.__version__",
        "import downloader; downloader.JobError; downloader.exit_status",
    ],
)
def test_importing_the_package_imports_nothing_heavy(code: str) -> None:
    assert not modules_after(code) & set(HEAVY)


def test_values_need_no_network_library() -> None:
    found = modules_after(
        "import downloader.planning, downloader.job, downloader.region, downloader.outcome, downloader.seams"
    )
    assert not found & {
        "aiohttp",
        "google",
        "httpx",
        "numcodecs",
        "obstore",
        "rich",
        "xarray",
        "zarr",
        "asyncio",
    }


def test_the_public_names_are_there() -> None:
    code = "import downloader; [getattr(downloader, name) for name in downloader.__all__]; assert set(downloader.__all__) <= set(dir(downloader))"
    assert "downloader" in modules_after(code)
