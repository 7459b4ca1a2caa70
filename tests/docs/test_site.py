"""The site of docs/: built strictly, with no warning; complete; and nothing in it is fetched from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest

import downloader
from tests.docs.building import build_site
from tests.harness import ROOT

DIAGRAMS = sorted((ROOT / "docs" / "images").glob("*.svg"))


class Page(HTMLParser):
    """What a page loads, links to, and can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: set[str] = set()
        self.links: set[str] = set()
        self.ids: set[str] = set()
        self.without_words = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if "src" in values:
            self.loads.add(values["src"])
        if tag == "link" and values.get("rel") not in {"canonical", "next", "prev"}:
            self.loads.add(values["href"])
        self.without_words += tag == "img" and not values.get("alt")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Path within the site → page."""
    return {path.relative_to(site).as_posix(): Page(path) for path in site.rglob("*.html")}


def test_nothing_is_fetched_from_elsewhere(site, pages):
    for name, page in pages.items():
        assert not [place for place in page.loads if "//" in place], name
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_every_link_between_pages_leads_to_a_file_and_a_place_on_it(site, pages):
    for name, page in pages.items():
        if name == "404.html":
            continue
        for link in page.links:
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link) or (not target and not anchor):
                continue
            path = (Path("/", name).parent / target).resolve().relative_to("/").as_posix() if target else name
            assert (site / path).exists(), f"{name} → {link}"
            assert not anchor or anchor in pages[path].ids, f"{name} → {link}"


def test_every_picture_has_words(pages):
    assert {name: page.without_words for name, page in pages.items() if page.without_words} == {}


def test_every_page_of_docs_can_be_reached(pages):
    index = pages["index.html"]
    for path in (ROOT / "docs").rglob("*.md"):
        assert path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() in index.links | {"index.html"}


def test_every_public_name_is_in_the_reference(pages):
    ids = pages["reference/python.html"].ids
    assert [
        name for name in downloader.__all__ if name != "__version__" and f"downloader.{name}" not in ids
    ] == []


def test_every_command_and_option_is_in_the_reference(site):
    from downloader.cli.main import downloader as group

    text = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert f"downloader {name}" in text
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert all(f"<code>{flag}</code>" in text for flag in option.opts), (name, option.opts)


def test_the_search_finds_what_is_written(site):
    found = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    assert any("--resample" in entry["text"] for entry in found)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_pages_of_the_root_link_to_what_exists(name, pages):
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets
    for target in targets:
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists(), target
        if anchor and path.startswith("docs/"):
            assert anchor in pages[path.removeprefix("docs/").replace(".md", ".html")].ids, target


@pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.stem)
def test_pictures_need_nothing_and_say_what_they_show(path):
    import xml.etree.ElementTree as ET

    root = ET.parse(path).getroot()
    assert root.get("role") == "img"
    assert root.findtext("{http://www.w3.org/2000/svg}title")
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"]+", text)) == {"http://www.w3.org/2000/svg"}
