"""Pages in a real browser, of reports and of a plan: readable without scripts, to everybody, at any width, on paper."""

from __future__ import annotations

import itertools

import pytest

import downloader
from tests.harness import ASSET, job, window
from tests.unit.report.html.test_page import evil_report

PHONE = 390


@pytest.fixture(scope="module")
def pages(tmp_path_factory, emulator_process):
    """Of a run with groups, retries and failed tiles, and of its plan; of samples; of a report that is full of markup."""
    folder = tmp_path_factory.mktemp("pages")
    faults = [
        {
            "fault": "bad-request-400",
            "covers": [300, 300],
            "above_pixels": 1,
            "message": "A <b>cursed</b> tile.",
        },
        {"fault": "internal-500", "every": 5, "above_pixels": 1},
    ]
    emulator = emulator_process
    emulator.control("configure", {"faults": faults})
    source = {"asset": ASSET, "bands": ["B2", "B3", "B4", "B5"]}
    values = job(
        emulator, folder / "m.zarr", source=source, region=window(0, 0, 1300, 1000), request={"tiles": 1}
    )
    with pytest.raises(downloader.IncompleteError) as incomplete:
        downloader.download(values, progress=False)
    incomplete.value.report.save(folder / "run.html")
    downloader.plan(values).map(folder / "plan.html")
    emulator.reset()
    lines = [f"{-122.8 + 0.02 * k},37.5" for k in range(30)]
    (folder / "points.csv").write_text("\n".join(["lon,lat", *lines]))
    region = {"points": {"file": str(folder / "points.csv"), "chip": 32}}
    chips = downloader.download(
        job(emulator, folder / "chips.zarr", source=source, region=region), progress=False
    )
    chips.save(folder / "chips.html")
    evil_report().save(folder / "evil.html")
    return {name: folder / f"{name}.html" for name in ("run", "chips", "evil", "plan")}


every_page = pytest.mark.parametrize("name", ["run", "chips", "evil", "plan"])


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("run", "light"),
        ("run", "dark"),
        ("evil", "dark"),
        ("plan", "light"),
        ("plan", "dark"),
        ("chips", "light"),
    ],
)
def test_no_serious_finding_of_accessibility(pages, look, serious, name, scheme):
    page = look(pages[name], scheme=scheme)
    for summary in page.locator("summary").all():
        summary.click()
    assert serious(page) == []


def test_the_check_of_accessibility_would_find_something(pages, look, serious, tmp_path):
    """It is only worth something if it can fail."""
    worse = tmp_path / "worse.html"
    worse.write_text(
        pages["run"]
        .read_text()
        .replace("--soft: #4d5964", "--soft: #c9d1d9")
        .replace(' alt="', ' data-alt="')
    )
    found = {line.split(":")[0] for line in serious(look(worse))}
    assert {"serious color-contrast", "critical image-alt"} <= found


@every_page
def test_nothing_is_asked_of_the_network_and_nothing_runs(pages, look, name):
    page = look(pages[name])
    outside = [url for url in page.requested if url != pages[name].as_uri() and not url.startswith("data:")]
    assert outside == []
    assert page.said == [], "neither errors nor what the policy of the page had to stop"
    assert page.evaluate("document.scripts.length") == 0


def test_all_is_there_without_javascript(pages, look):
    page = look(pages["run"], scripts=False)
    text = page.locator("main").inner_text()
    for words in (
        "Quick look",
        "10m by state",
        "Throughput",
        "A <b>cursed</b> tile.",
        "open_tree",
    ):
        assert words in text
    for picture in page.locator("img, svg[role=img]").all():
        box = picture.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 20
    table = page.get_by_role("table", name="The run over time")
    assert not table.is_visible()
    page.get_by_text("The charts as a table").click()
    assert table.is_visible(), "it opens without a script"


@every_page
@pytest.mark.parametrize("width", [320, PHONE])
def test_a_phone_need_not_scroll_sideways(pages, look, name, width):
    page = look(pages[name], width=width)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_pictures_load_and_have_words(pages, look):
    page = look(pages["run"])
    sizes = page.eval_on_selector_all(
        "img", "all => all.map(i => [i.complete, i.naturalWidth, i.alt.length])"
    )
    assert len(sizes) == 2
    assert all(complete and width > 100 and words > 20 for complete, width, words in sizes)
    for drawing in page.get_by_role("img").all():
        assert drawing.get_attribute("alt") or drawing.get_attribute("aria-labelledby")
    charts = page.get_by_role("img", name="Throughput")
    assert "on average" in charts.first.locator("desc").text_content()


def test_the_colours_follow_the_reader(pages, look):
    def brightness(scheme):
        page = look(pages["run"], scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    assert brightness("light") > 700
    assert brightness("dark") < 100


def test_on_paper(pages, look):
    """Dark inks on white, whatever the screen; what can only be clicked stays away."""
    page = look(pages["run"], scheme="dark")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert not page.locator("details").is_visible()


def test_markup_in_messages_stays_text(pages, look):
    page = look(pages["evil"])
    assert page.get_by_text("<script>alert(1)</script>").first.is_visible()
    assert page.evaluate("document.images.length") == 0
    assert page.locator("main b, main script").count() == 0


def test_the_page_can_be_walked_by_keyboard_and_by_headings(pages, look):
    page = look(pages["run"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the report"
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("navigation").count() == 1
    levels = page.eval_on_selector_all("h1, h2, h3", "all => all.map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
