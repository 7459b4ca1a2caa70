"""A headless Chromium where the machine has one; elsewhere these tests are skipped, and say why.

Whatever drives it runs in one thread of its own: Playwright leaves an event loop running in the thread that started it,
where no other test could then run one.
"""

from __future__ import annotations

import contextlib
import shutil
from concurrent.futures import ThreadPoolExecutor

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


THREAD = ThreadPoolExecutor(1, "browser")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run the tests of this folder where the browser is."""
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    THREAD.submit(pyfuncitem.obj, **given).result()
    return True


@pytest.fixture(scope="session")
def browser():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is on the path")
    with contextlib.ExitStack() as stack:

        def start():
            playwright = stack.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
            stack.callback(browser.close)
            return browser

        try:
            started = THREAD.submit(start).result()
        except Error as error:
            THREAD.submit(stack.close).result()
            pytest.skip(f"{path} does not start: {error.message.splitlines()[0]}")
        yield started
        THREAD.submit(stack.close).result()


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
        THREAD.submit(stack.close).result()


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
