"""A headless Chromium where the machine has one; elsewhere these tests are skipped, and say why."""

from __future__ import annotations

import contextlib
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is on the path")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        except Error as error:
            pytest.skip(f"{path} does not start: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def look(browser):
    """Open a file; with what was asked of the network in `requested`."""
    with contextlib.ExitStack() as stack:

        def opened(file, *, scheme="light", width=1200, scripts=True):
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
            )
            stack.callback(context.close)
            page = context.new_page()
            page.requested, page.said = [], []
            page.on("request", lambda request: page.requested.append(request.url))
            page.on("console", lambda message: page.said.append(message.text))
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.goto(file.as_uri())
            return page

        yield opened


@pytest.fixture(scope="session")
def serious():
    """What axe finds of serious or critical impact, as lines."""
    axe = Axe()

    def found(page):
        violations = axe.run(page).response["violations"]
        return [
            f"{v['impact']} {v['id']}: {node['html'][:120]}"
            for v in violations
            if v["impact"] in ("serious", "critical")
            for node in v["nodes"]
        ]

    return found
