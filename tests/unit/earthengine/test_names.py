"""Ids, names and base URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloader.earthengine.names import asset_name, base_url
from downloader.errors import JobError
from downloader.model.image import asset_id

S2 = "COPERNICUS/S2/20170430T190351_20170430T190351_T10SEG"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (S2, f"projects/earthengine-public/assets/{S2}"),
        ("LANDSAT", "projects/earthengine-public/assets/LANDSAT"),
        ("users/ann/dem", "projects/earthengine-legacy/assets/users/ann/dem"),
        ("projects/planet-nicfi/basemaps/x", "projects/earthengine-legacy/assets/projects/planet-nicfi/basemaps/x"),
        ("projects/my-proj-1/assets/a/b", "projects/my-proj-1/assets/a/b"),
        ("projects/example.com:my-proj-1/assets/a", "projects/example.com:my-proj-1/assets/a"),
        ("projects/short/assets/a", "projects/earthengine-legacy/assets/projects/short/assets/a"),
    ],
)  # fmt: skip
def test_ids_become_names_as_in_the_official_client(written, name):
    assert asset_name(written) == name
    assert asset_name(name) == name


@pytest.mark.parametrize("written", [S2, "users/ann/dem", "projects/my-proj-1/assets/a/b"])
def test_the_id_for_display_leads_back_to_the_name(written):
    assert asset_id(asset_name(written)) == written


@pytest.mark.parametrize(
    "written",
    [
        "", " ", "/", "a//b", "/a", "a/", "..", "a/../b", "a/./b", "a b", " a", "a\n", "a\0b", "a\u202eb", "a?x=1",
        "a#b", "a%2e%2e/b", "a\\b", "a:getPixels", "projects/my-proj-1/assets/", "projects/my-proj-1/assets/../x",
        "projects/my-proj-1/assets/a:b", "x" * 2000,
    ],
)  # fmt: skip
def test_what_no_asset_is_called_is_refused(written):
    with pytest.raises(JobError, match="asset id"):
        asset_name(written)


@given(st.text(max_size=40))
def test_whatever_is_accepted_is_a_plain_path(written):
    try:
        name = asset_name(written)
    except JobError:
        return
    assert name.startswith("projects/")
    segments = name.split("/")
    assert all(segments)
    assert not {".", ".."} & set(segments)
    assert name.isprintable()
    assert not set("?#%\\ ") & set(name)


def test_base_urls_lose_their_trailing_slash():
    assert base_url("http://127.0.0.1:8080/") == "http://127.0.0.1:8080"
    assert base_url("https://mirror.example/ee/") == "https://mirror.example/ee"


@pytest.mark.parametrize(
    "endpoint",
    ["", "ftp://x", "127.0.0.1:80", "http://", "http://a:b@host", "http://h?x=1", "http://h#f", "http://[::1", "http://h:99999"],
)  # fmt: skip
def test_what_is_no_base_url_is_refused_without_showing_a_password(endpoint):
    with pytest.raises(JobError, match=r"service\.endpoint") as caught:
        base_url(endpoint)
    assert "a:b" not in str(caught.value)
