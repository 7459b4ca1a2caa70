"""Cards of notebooks: every text escaped, nothing that runs, long tables cut."""

from __future__ import annotations

from html.parser import HTMLParser

from downloader.cards import bar, card, facts, figures, folded, picture, rows
from downloader.model.image import Image
from downloader.report.image_list import Images

HOSTILE = "</style><script>alert(1)</script>\x1b[31m"


class Tags(HTMLParser):
    """The tags of a page, and whether they close."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(page: str) -> list[str]:
    """The tags of a page that closes all of them."""
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser.found


def test_no_text_becomes_markup() -> None:
    page = card(
        HOSTILE,
        HOSTILE,
        facts([(HOSTILE, HOSTILE)]),
        rows([[HOSTILE]], [HOSTILE]),
        figures(picture("data:,", HOSTILE)),
        folded(HOSTILE, HOSTILE),
        bar(2.0, "over"),
    )
    assert "script" not in tags(page)
    assert "\x1b" not in page
    assert page.count("&lt;script&gt;") == 9
    assert "width:100.0%" in page


def test_a_long_table_is_cut_and_says_so() -> None:
    page = rows([[f"{n:,}", "x"] for n in range(5_000)], ("number", "text"))
    assert page.count("<tr>") == 21
    assert "4,980 more" in page
    assert '<th class="number">number</th><th>text</th>' in page


def test_what_has_no_text_is_left_out() -> None:
    assert facts([("state", "")]) == ""
    assert figures("", "") == ""


def test_images_are_a_list_that_shows_a_table() -> None:
    found = [
        Image(f"projects/p/assets/I{n}", f"I{n}", (), start_time="2017-04-30", properties={"CLOUD_COVER": n})
        for n in range(30)
    ]
    asked: list[tuple[str, dict[str, object]]] = []

    def look(name: str, **how: object) -> bytes:
        asked.append((name, how))
        return b"png"

    images = Images(found, "C", look)
    assert images == found
    assert len(repr(images).splitlines()) == 10
    assert repr(images).splitlines()[-1] == "… and 23 more"
    assert "CLOUD_COVER" in images._repr_html_()
    assert "<td>I19</td>" in images._repr_html_()
    assert repr(Images([], "C", look)) == "0 images of C"
    pictures = images.thumbnails(2, max=3000)
    assert asked == [("I0", {"max": 3000}), ("I1", {"max": 3000})]
    assert tags(pictures._repr_html_()).count("img") == 2
