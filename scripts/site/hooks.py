"""Hooks of mkdocs.yml: the pages that are made from something else, so that they cannot fall behind it.

`reference/cli.md` comes from the commands themselves, `emulator-acceptance.md` from `tests/contract/acceptance.md` and the
names of the tests, `changelog.md` and `contributing.md` from the files at the root.
Keys of the job file's page can be linked: `job.html#source.bands`.
Pages that the navigation does not name join the guides, and public names that `reference/python.md` does not, its end.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

ROOT = Path(__file__).resolve().parents[2]
# mkdocs runs this file, not a module of a package.
sys.path.insert(0, str(ROOT))

from scripts.site.cli_page import cli_page  # noqa: E402  # after the path
from tests.contract import acceptance  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

GUIDES = "Guides"
PYTHON = "reference/python.md"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add pages that the navigation does not name to the guides."""
    nav = config.nav or []
    named = set(re.findall(r"[\w./-]+\.md", str(nav)))
    docs = Path(config.docs_dir)
    found = sorted(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))
    guides = next(section[GUIDES] for section in nav if GUIDES in section)
    guides.extend(page for page in found if page not in named)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    pages = {
        "reference/cli.md": cli_page(),
        "emulator-acceptance.md": acceptance.page(),
        "changelog.md": from_root("CHANGELOG.md"),
        "contributing.md": from_root("CONTRIBUTING.md"),
    }
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def from_root(name: str) -> str:
    """A page of the root, its links to docs/ turned into links between pages, others to plain text."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#|[\w./-]+\.md)[^)]*\)", r"\1", text)


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # mkdocs calls by name
    """Add public names that the page of the library leaves out."""
    if page.file.src_uri != PYTHON:
        return markdown
    import downloader

    names = [name for name in downloader.__all__ if not name.startswith("__")]
    missing = [name for name in names if f"::: downloader.{name}\n" not in f"{markdown}\n"]
    if missing:
        markdown += (
            "\n\n## Also public\n\n" + "\n\n".join(f"::: downloader.{name}" for name in missing) + "\n"
        )
    return markdown


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  # mkdocs calls by name
    """Give the cells of the job file's keys an id."""
    if page.file.src_uri != "job.md":
        return html
    return re.sub(r"<td><code>([a-z_.]+)</code>", r'<td id="\1"><code>\1</code>', html)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001  # mkdocs calls by name
    """Name the theme's search for those who hear the page, which the theme leaves out."""
    return output.replace(
        'data-md-component="search" role="dialog"',
        'data-md-component="search" role="dialog" aria-label="Search"',
    )


def main() -> None:
    """Print the page of the command line, to look at it without building the site."""
    click.echo(cli_page())


if __name__ == "__main__":
    main()
