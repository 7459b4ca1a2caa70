"""The documentation's site in a real browser: both themes, a phone, and whoever does not see it."""

from __future__ import annotations

import pytest

from tests.docs.building import build_site

VIEWS = (("index", "light"), ("scale", "dark"), ("quickstart", "dark"))
"""Text, tables, code; axe takes seconds for each."""


@pytest.fixture(scope="module")
def site(browser, tmp_path_factory):
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.mark.slow
def test_everybody_can_read_it_and_nothing_is_asked_of_the_network(site, look, serious):
    for name, scheme in VIEWS:
        page = look(site / f"{name}.html", scheme=scheme)
        assert (
            page.locator("body").get_attribute("data-md-color-scheme")
            == {"light": "default", "dark": "slate"}[scheme]
        )
        assert serious(page) == [], f"{name}, {scheme}"
        assert [url for url in page.requested if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.slow
def test_it_fits_a_phone(site, look):
    for name, _ in VIEWS:
        page = look(site / f"{name}.html", width=360)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
