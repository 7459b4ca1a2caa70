"""What goes with a release: citation, changelog, issue forms and commit hooks, each held to what it must agree with."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from ruamel.yaml import YAML

from downloader import __version__
from tests.harness import ROOT

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def load(path):
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


def check(schema: str, *files) -> None:
    """Hold files against a schema that the package of schemas ships."""
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", f"--builtin-schema=vendor.{schema}", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_is_valid_and_of_this_version():
    path = ROOT / "CITATION.cff"
    check("citation-file-format", path)
    document = load(path)
    assert document["version"] == __version__
    assert document["license"] == "Apache-2.0"


def test_issue_forms_are_valid():
    assert {path.stem for path in FORMS} == {"bug", "config", "idea", "live"}
    check("github-issue-forms", *(path for path in FORMS if path.stem != "config"))
    check("github-issue-config", *(path for path in FORMS if path.stem == "config"))


def test_the_form_for_the_live_service_offers_what_is_open():
    """The points of the form are found on the page of what was never seen."""
    (dropdown,) = (
        part for part in load(ROOT / ".github/ISSUE_TEMPLATE/live.yml")["body"] if part["type"] == "dropdown"
    )
    page = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
    for word in ("masked pixels", "published values", "429", "wording", "how long requests"):
        assert any(word.lower() in option.lower() for option in dropdown["attributes"]["options"]), word
        assert word.lower() in page.lower()


def test_commit_hooks_are_local_and_run_the_checks_of_the_tests():
    path = ROOT / ".pre-commit-config.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    repos = load(path)["repos"]
    assert [repo["repo"] for repo in repos] == ["local"], "nothing may be fetched"
    entries = " ".join(hook["entry"] for repo in repos for hook in repo["hooks"])
    for tool in re.findall(r"^step (ruff \w+|mypy)", (ROOT / "scripts" / "test").read_text(), re.MULTILINE):
        assert f".venv/bin/{tool}" in entries, tool


@pytest.mark.parametrize(
    ("pattern", "caught", "let_pass"),
    [
        ("merge-marks", "<<<<<<< HEAD\n", "a << b, <<<<<< x\n"),
        ("keys", f"-----BEGIN PRIVATE KEY-----\n{'A' * 64}\n", "-----BEGIN PRIVATE KEY-----\\nnonsense"),
    ],
)
def test_hooks_by_pattern_catch_what_they_are_for(pattern, caught, let_pass):
    hooks = {
        hook["id"]: hook for repo in load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]
    }
    expression = re.compile(hooks[pattern]["entry"], re.MULTILINE)
    assert expression.search(caught)
    assert not expression.search(let_pass)


def test_the_changelog_is_kept_as_it_says():
    """Newest first, `## Unreleased` at the head, versions as `## [X.Y.Z] - DATE`, this one at their head if there is any."""
    assert "https://keepachangelog.com" in CHANGES
    heads = re.findall(r"^## (.*)$", CHANGES, re.MULTILINE)
    assert heads[0] == "Unreleased"
    released = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - \d{4}-\d\d-\d\d", head) for head in heads[1:]]
    assert all(released), heads
    versions = [tuple(map(int, match.groups())) for match in released]
    assert versions == sorted(versions, reverse=True)
    assert not versions or ".".join(map(str, versions[0])) == __version__
    sections = re.findall(r"^### (.*)$", CHANGES, re.MULTILINE)
    assert set(sections) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_version_is_semantic():
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", __version__)


def test_the_core_stands_on_the_libraries_that_the_architecture_names():
    (line,) = re.findall(
        r"- \*\*(.+) are the core's libraries\*\*", (ROOT / "docs/architecture.md").read_text("utf-8")
    )
    named = set(re.split(r", | and ", line))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert named == {"httpx", "google-auth", "anyio", "numpy", "zarr", "tenacity"}
    assert named <= {re.split(r"[<>=]", entry)[0] for entry in project["dependencies"]}
    client = "\n".join(path.read_text("utf-8") for path in (ROOT / "downloader").rglob("*.py"))
    modules = {name.replace("google-auth", "google.auth") for name in named}
    assert {
        name for name in modules if re.search(rf"^\s*(import|from) {re.escape(name)}\b", client, re.MULTILINE)
    } == modules


def test_the_conda_recipe_needs_what_the_wheel_needs():
    """No conda is here to build it: names, bounds, version, script and licence are those of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    recipe = YAML(typ="safe").load((ROOT / "conda" / "recipe.yaml").read_text("utf-8"))
    assert recipe["package"] == {"name": project["project"]["name"], "version": __version__}
    wanted = {re.sub(r"[\s]", "", one) for one in project["project"]["dependencies"]}
    run = {re.sub(r"\s", "", one) for one in recipe["requirements"]["run"]}
    assert run == wanted | {f"python{project['project']['requires-python']}"}
    (script,) = project["project"]["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [" = ".join(script)]
    assert {"python >=3.11", "hatchling >=1.25"} <= set(recipe["requirements"]["host"])
    assert recipe["about"]["license"] == project["project"]["license"]
    assert recipe["about"]["license_file"] == project["project"]["license-files"]
    assert (
        recipe["tests"][0]["python"]["imports"]
        == project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    )
