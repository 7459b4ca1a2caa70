"""The distributions: built, looked into, and the wheel installed where nothing of the checkout can be seen."""

from __future__ import annotations

import email
import os
import re
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import trove_classifiers
from packaging.metadata import Metadata

from downloader import __version__
from tests.harness import ROOT, compare, environment, job, window, write_job

NAME = f"earthengine_downloader-{__version__}"


def run(*arguments: object, cwd: Path, **env: str) -> str:
    """A program's standard output; without the checkout on Python's path."""
    variables = environment(**env)
    variables.pop("PYTHONPATH")
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the sdist, and of the wheel that is made from it, as from a checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    assert sorted(path.name for path in folder.iterdir()) == [f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz"]
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"{NAME}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a new environment: this package from the wheel, all others from the running one."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home
    )
    (own,) = home.glob("lib/python*/site-packages")
    # A path in a .pth file is added as it is; .pth files in it, such as an editable install's, are not read.
    (own / "others.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return home / "bin"


def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked(folder: str) -> set[str]:
    """Files of a folder that belong to the project."""
    skipped = {"__pycache__", "out"}
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    return {p.relative_to(ROOT).as_posix() for p in paths if not skipped & set(p.parts)}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    inside = {name for name in files(wheel) if not name.startswith(f"{NAME}.dist-info/")}
    assert inside == tracked("downloader") | tracked("earthengine_emulator")
    assert "downloader/py.typed" in inside
    assert {
        "earthengine_emulator/api/discovery.json",
        "earthengine_emulator/compute/signatures.txt",
        "downloader/datasets/facts.zip",
    } <= inside
    assert [name for name in inside if name.endswith((".html", ".css"))], "templates of the report"


def test_the_metadata_say_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        said = email.message_from_bytes(archive.read(f"{NAME}.dist-info/METADATA"))
        entries = archive.read(f"{NAME}.dist-info/entry_points.txt").decode()
        licenses = {f"{NAME}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")}
        assert licenses <= set(archive.namelist())
    assert (said["Name"], said["Version"]) == ("earthengine-downloader", __version__)
    assert said["Requires-Python"] == ">=3.11"
    assert said["License-Expression"] == "Apache-2.0"
    assert {"xarray", "rasters", "vector", "s3", "dask", "all"} <= set(said.get_all("Provides-Extra"))
    assert "downloader = downloader.__main__:main" in entries
    assert said.get_payload().startswith("# earthengine-downloader")


def test_an_index_would_take_them(built, wheel):
    """What `twine check` asks, and more: valid metadata of both, a text that is no other format's, known classifiers."""
    with zipfile.ZipFile(wheel) as archive:
        told = archive.read(f"{NAME}.dist-info/METADATA")
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        file = archive.extractfile(f"{NAME}/PKG-INFO")
        assert file is not None
        assert file.read() == told
    metadata = Metadata.from_email(told, validate=True)
    assert metadata.description_content_type == "text/markdown"
    assert metadata.summary
    assert len(metadata.summary) < 512
    assert set(metadata.classifiers) <= trove_classifiers.classifiers
    assert not [name for name in metadata.classifiers if name.startswith("License ::")], (
        "the expression tells"
    )
    systems = [name for name in metadata.classifiers if name.startswith("Operating System ::")]
    assert systems == ["Operating System :: POSIX :: Linux"], "where it was tried"
    versions = [name for name in metadata.classifiers if re.search(r":: 3\.\d+$", name)]
    assert (
        f"Programming Language :: Python :: {str(metadata.requires_python).removeprefix('>=')}" == versions[0]
    )
    assert metadata.keywords
    assert len(metadata.keywords) >= 3


def test_the_sdist_holds_what_a_checkout_holds(built):
    with tarfile.open(built / f"{NAME}.tar.gz") as archive:
        inside = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    for folder in ("downloader", "tests", "docs", "scripts", "configs"):
        assert tracked(folder) <= inside
    assert {
        "README.md",
        "LICENSE",
        "NOTICE",
        "CHANGELOG.md",
        "CITATION.cff",
        "CONTRIBUTING.md",
        "mkdocs.yml",
    } <= inside
    assert not [
        name for name in inside if name.startswith(("configs/out", "site/", ".venv")) or "__pycache__" in name
    ]


@pytest.mark.slow
def test_the_installed_wheel_runs_the_quickstart(installed, tmp_path):
    where = run(installed / "python", "-c", "import downloader; print(downloader.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent), "the checkout's is not what is tried"
    assert __version__ in run(installed / "downloader", "--version", cwd=tmp_path)
    values = job(None, "out/mosaic.zarr", region=window(0, 0, 700, 600))
    write_job(tmp_path, values)
    path = f"{installed}:{os.environ['PATH']}"
    said = run(installed / "downloader", "run", "job.yaml", cwd=tmp_path, PATH=path)
    assert "complete" in said
    assert compare(tmp_path / "out" / "mosaic.zarr") == 4 * 700 * 600
    run(installed / "downloader", "preview", "out/mosaic.zarr", "-o", "look.png", cwd=tmp_path, PATH=path)
    assert (tmp_path / "look.png").stat().st_size > 1000
