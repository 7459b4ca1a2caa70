"""Foreign text: short, on one line, without secrets."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.earthengine.redact import MAX_CHARACTERS, hide, readable, redact

SECRET = "s3cr3t-Value_0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}, then",
        f"https://host/x?access_token={SECRET}&alt=json",
        f"https://host/x?key={SECRET}",
        f"https://storage/o?X-Goog-Algorithm=A&X-Goog-Credential={SECRET}&X-Goog-Signature={SECRET}",
        f"https://bucket/o?AWSAccessKeyId={SECRET}&Signature={SECRET}",
        f"https://account.blob/o?sv=1&sig={SECRET}",
        f'{{"refresh_token": "{SECRET}"}}',
        f"{{'client_secret': '{SECRET}'}}",
        f"assertion={SECRET}&grant_type=x",
        f"password: {SECRET}",
        f"http://user:{SECRET}@proxy:3128/",
        f"ya29.{SECRET}",
        f"1//{SECRET}",
        f"eyJhbGciOi.{SECRET}.{SECRET}",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_no_secret_survives(text):
    assert SECRET not in redact(text)
    assert SECRET not in readable(text)
    assert "[hidden]" in readable(text)


@pytest.mark.parametrize(
    "text",
    [
        "Enable it by visiting https://console.developers.google.com/apis/api/earthengine.googleapis.com/overview?project=42 then retry.",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.",
        "Image.select: Band pattern 'X' did not match any bands. Available bands: [B1, B2]",
        "Asset 'projects/earthengine-public/assets/NOPE' does not exist or doesn't allow this operation.",
    ],
)  # fmt: skip
def test_the_services_own_words_stay_whole(text):
    assert readable(text) == text


def test_a_web_page_becomes_what_a_reader_sees():
    page = (
        "<!DOCTYPE html>\n<html lang=en><head><title>Error 502 (Server Error)!!1</title><style>p{color:red}</style></head>"
        "<script>var a = '<p>';</script><p><b>502.</b> <ins>That&#39;s an error.</ins>\n<p>Try again in 30 seconds."
    )
    assert readable(page) == "Error 502 (Server Error)!!1: 502. That's an error. Try again in 30 seconds."


@given(st.text(max_size=2000))
def test_anything_becomes_one_short_printable_line(text):
    line = readable(text)
    assert len(line) <= MAX_CHARACTERS
    assert line.isprintable()


@pytest.mark.parametrize(
    "piece", ["a.", "<script", "<!--", "eyJ", "-eyJaaaa", "key=", "http://a:", "Bearer "]
)
def test_a_hostile_text_takes_no_time(piece):
    readable(piece * 500_000)
    readable("<html>" + piece * 500_000)


@pytest.mark.parametrize(
    "form", ["{}", "'{}'", "the token {} is odd", '{{"error": {{"message": "{}"}}}}', "<p>{}</p>", "x={}"]
)
def test_a_token_in_use_is_hidden_whatever_its_form(form):
    """A token of a command or variable need not look like one of Google's."""
    token = "opaque/SECRET+token0123=="
    hide(token)
    for spelt in (token, quote(token, safe="")):
        assert "SECRET" not in readable(form.format(spelt))
        assert "[hidden]" in readable(form.format(spelt))
    assert "SECRET" not in readable("<html>" + " " * 16_370 + token), "nor where the text is cut"


def test_what_is_too_short_to_be_a_token_hides_no_words():
    hide("band")
    assert readable("band B2 is missing") == "band B2 is missing"
