"""The layers of `docs/layers.toml`, held by what every module imports: at its top, inside functions, under TYPE_CHECKING.

The arithmetic is that of `scripts/architecture`, which also writes the table into docs/architecture.md.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

# What the pure layers may not know: I/O, clocks, event loops, and the libraries of the layers above.
IMPURE = {
    "aiohttp", "anyio", "asyncio", "google", "httpx", "numcodecs", "obstore", "random", "requests", "rich", "signal", "socket",
    "subprocess", "tenacity", "threading", "time", "urllib", "xarray", "zarr",
}  # fmt: skip
PURE = {"errors", "model", "job", "expressions", "planning", "events"}
GUARDS = {("downloader.planning.polygon", "threading")}
"""A lock around a C library that two threads may not use together; no thread is started."""


@cache
def architecture() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("architecture", str(ROOT / "scripts" / "architecture"))
    spec = importlib.util.spec_from_loader("architecture", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["architecture"] = module
    loader.exec_module(module)
    return module


@cache
def client():
    return architecture().Package(ROOT / "downloader")


@cache
def layers():
    return architecture().Layers.read(ROOT)


def foreign_imports(package) -> set[tuple[str, str]]:
    """(module, imported top-level name of another package)."""
    import ast

    return {
        (name, target.split(".")[0])
        for name, tree in package.trees.items()
        for node in ast.walk(tree)
        for target in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
        if target.split(".")[0] != package.name
    }


def test_every_module_has_a_layer() -> None:
    assert not [name for name in client().modules if layers().rank(name) < 0], "enter it in docs/layers.toml"
    places = {name for name, _ in layers().places}
    used = {layers().places[layers().rank(name)][0] for name in client().modules}
    assert places == used, "a place that is gone needs no entry"


def test_imports_lead_downward() -> None:
    assert not {(entry.source, entry.target) for entry in layers().upward(client())}


def test_no_module_imports_itself_through_others() -> None:
    assert not client().circles()


def test_no_two_classes_have_one_name() -> None:
    assert not client().classes()


def test_the_emulator_and_the_client_share_no_code() -> None:
    emulator = architecture().Package(ROOT / "earthengine_emulator")
    assert not [name for name, target in foreign_imports(emulator) if target == "downloader"]
    known = {name for name, target in foreign_imports(client()) if target == "earthengine_emulator"}
    assert known == {"downloader.cli.emulate", "downloader.engine.connect"}, "they start it, and only they"


def test_the_emulators_folders_import_downward() -> None:
    """The table of earthengine_emulator/README.md is the order of its folders."""
    emulator = architecture().Package(ROOT / "earthengine_emulator")
    page = (ROOT / "earthengine_emulator" / "README.md").read_text(encoding="utf-8")
    order = re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)

    def rank(module: str) -> int:
        name = [*module.split("."), ""][1]
        return order.index(name) if name in order else len(order)

    assert set(order) == {path.parent.name for path in (ROOT / "earthengine_emulator").glob("*/__init__.py")}
    upward = [
        f"{i.source}:{i.line} → {i.target}" for i in emulator.imports if rank(i.target) > rank(i.source)
    ]
    assert not upward
    assert not emulator.circles()
    assert not emulator.classes()


def test_pure_layers_do_no_io() -> None:
    impure = {
        (name, target)
        for name, target in foreign_imports(client())
        if [*name.split("."), ""][1] in PURE and target in IMPURE
    }
    assert impure <= GUARDS


def test_nothing_hides_from_the_graph(tmp_path: Path) -> None:
    package = tmp_path / "house"
    package.mkdir()
    for name in ("__init__", "low", "high"):
        (package / f"{name}.py").write_text("")
    (package / "low.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from house.high import x\n"
        "def f():\n    from . import high\n"
    )
    found = architecture().Package(package)
    assert {(i.target, i.typing_only, i.in_function) for i in found.imports} == {
        ("house.high", True, False),
        ("house.high", False, True),
    }
    (package / "high.py").write_text("import house.low")
    assert architecture().Package(package).circles() == [["house.high", "house.low"]]


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
        "import downloader.planning, downloader.job, downloader.model.bbox, downloader.events, downloader.protocols"
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
    code = "import downloader; [getattr(downloader, name) for name in downloader.__all__]; assert set(dir(downloader)) <= set(downloader.__all__); assert 18 <= len(dir(downloader)) <= 26"
    assert "downloader" in modules_after(code)


# Tests mirror the package ----------------------------------------------------------------------------------


def test_a_unit_test_stands_where_its_module_does() -> None:
    """`tests/unit/<folder>/test_<module>[_<aspect>].py` tests `<folder>/<module>.py` of the client.

    Of the emulator and of scripts the folder begins with the package's name.
    """
    lost = []
    for path in sorted((ROOT / "tests" / "unit").rglob("test_*.py")):
        folder = path.relative_to(ROOT / "tests" / "unit").parent
        if path == Path(__file__):
            continue
        home = (
            ROOT / folder
            if folder.parts[:1] in {("earthengine_emulator",), ("scripts",)}
            else ROOT / "downloader" / folder
        )
        names = {module.stem for module in home.glob("*.py")}
        wanted = path.stem.removeprefix("test_")
        if not any(wanted == name or wanted.startswith(f"{name}_") for name in names):
            lost.append(str(path.relative_to(ROOT)))
    assert not lost


# The page of the architecture ------------------------------------------------------------------------------


def test_the_page_shows_the_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert layers().table() in page, "run scripts/architecture --write"


def test_every_file_that_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rules = page.split("## Where a rule is")[1].split("## Decisions")[0]
    named = re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:\.py|/))`", rules)
    assert len(named) > 15
    places = [ROOT / "downloader" / name for name in named]
    siblings = [ROOT / "downloader" / "mosaic" / "storage" / name for name in named]
    assert not [
        name for name, a, b in zip(named, places, siblings, strict=True) if not (a.exists() or b.exists())
    ]
