"""`downloader inspect`, `images` and `thumbnail` as processes, and their library calls, against one emulator."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import date

import pytest
from PIL import Image

import downloader
from downloader.cli.main import main
from tests.harness import ASSET, ROOT, Ended, command, environment

COLLECTION = "COPERNICUS/S2"
OTHER = "COPERNICUS/S2/20170420T184921_20170420T190203_T10SEG"
APRIL = ("--start", "2017-04-01", "--end", "2017-05-01")
HERE = ("--point", "-122.085,37.422")


@pytest.fixture
def run(emulator, monkeypatch, capsys):
    """A `downloader` command that asks the shared emulator, in this process: a new one each time costs seconds."""
    for name in [
        name for name in os.environ if name.startswith(("GOOGLE_", "EARTHENGINE_", "EE_", "CLOUDSDK_"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DOWNLOADER_ENDPOINT", emulator.url)
    monkeypatch.setenv("DOWNLOADER_KEY_FILE", str(emulator.key_file))
    monkeypatch.setenv("DOWNLOADER_PROJECT", "p-test-1")

    def command(*arguments, cwd=None):
        if cwd is not None:
            monkeypatch.chdir(cwd)
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return Ended(status, *capsys.readouterr())

    return command


@pytest.fixture
def where(emulator):
    """The same for library calls."""
    return {
        "service": {"endpoint": emulator.url, "project": "p-test-1"},
        "auth": {"key_file": str(emulator.key_file)},
    }


def asked(emulator):
    return [request["method"] for request in emulator.control("requests?since=0")["requests"]]


# images --------------------------------------------------------------------------------------------------------


def test_images_that_have_a_value_in_a_list(run):
    """The column shows the list."""
    done = run(
        "images", "COPERNICUS/S1_GRD", "--start", "2023-01-01", "--end", "2023-02-01", "--filter", "NOT VH IN transmitterReceiverPolarisation"
    )  # fmt: skip
    rows = [line.split(maxsplit=2) for line in done.out.splitlines()[1:]]
    assert [(id_[30:34], lists) for id_, _, lists in rows] == [
        ("1SSV", "['VV']"),
        ("1SDH", "['HH', 'HV']"),
        ("1SSV", "['VV']"),
    ]


def test_a_table_with_what_the_filter_names(run):
    done = run("images", COLLECTION, *APRIL, *HERE, "--filter", "CLOUDY_PIXEL_PERCENTAGE < 10")
    assert done.status == 0, done
    assert [line.split() for line in done.out.splitlines()] == [
        ["image", "time", "CLOUDY_PIXEL_PERCENTAGE"],
        [OTHER, "2017-04-20T18:49:21Z", "4.3166"],
        [ASSET, "2017-04-30T19:03:51Z", "0"],
    ]
    assert done.err == ""


def test_the_table_shows_clouds_where_nothing_is_named_and_what_is_where_it_is(run):
    done = run("images", "EMULATOR/SERIES", "--limit", 2)
    assert done.out.splitlines()[0].split() == ["image", "time", "CLOUD_COVER"]
    done = run("images", "EMULATOR/SERIES", "--limit", 2, "--order-by", "-DAY")
    assert [line.split()[-1] for line in done.out.splitlines()] == ["DAY", "1499", "1498"]


def test_ids_are_one_a_line(run):
    done = run("images", COLLECTION, *APRIL, *HERE, "--ids")
    assert done.out == f"{OTHER}\n{ASSET}\n"
    done = run("images", COLLECTION, *APRIL, "--point", "10,10", "--ids")
    assert (done.status, done.out, done.err) == (0, "", "")
    done = run("images", COLLECTION, *APRIL, "--point", "10,10")
    assert (done.status, done.out) == (0, f"no image of {COLLECTION} matches\n")


def test_ids_into_a_pipe_that_closes(emulator):
    command = (
        f"{sys.executable} -m downloader images EMULATOR/SERIES --ids | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["bash", "-c", command],
        env=environment(DOWNLOADER_ENDPOINT=emulator.url, DOWNLOADER_KEY_FILE=str(emulator.key_file)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "EMULATOR/SERIES/20150101\n0\n"


def test_json_is_the_services_own(run):
    done = run("images", COLLECTION, *APRIL, *HERE, "--json")
    single = run("inspect", ASSET, "--json").document
    assert [image["id"] for image in done.document["images"]] == [OTHER, ASSET]
    known = single.pop("catalogue")
    assert done.document["images"][1] == single
    assert known["license"] == "proprietary"
    assert known["bands"]["B4"] == {"long_name": "Red", "scale_factor": 0.0001, "center_wavelength": 0.6645}
    assert run("images", COLLECTION, "--start", "2018-01-01", "--json").document == {"images": []}


def test_a_region_from_a_file(run, tmp_path):
    square = [[-122.1, 37.4], [-122.0, 37.4], [-122.0, 37.5], [-122.1, 37.5], [-122.1, 37.4]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [square]}}
    (tmp_path / "near.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    done = run("images", COLLECTION, "--region", "near.geojson", "--ids", cwd=tmp_path)
    assert done.out == f"{OTHER}\n{ASSET}\n"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["images", COLLECTION, "--filter", "CLOUD < 10 and X = 1"], 2, "character 12 of the filter .*write AND"),
        (["images", COLLECTION, "--start", "April"], 2, "start: 'April' is no time"),
        (["images", COLLECTION, "--start", "2017-05-01", "--end", "2017-04-01"], 2, "must lie before end"),
        (["images", COLLECTION, "--point", "37.422,-122.085"], 2, "they look swapped"),
        (["images", COLLECTION, "--point", "here"], 2, "'here': write LON,LAT, such as"),
        (["images", COLLECTION, "--region", "nowhere.geojson"], 2, "region: there is no file nowhere.geojson"),
        (["images", COLLECTION, "--region", "pyproject.toml"], 2, "region: pyproject.toml cannot be read as GeoJSON"),
        (["images", COLLECTION, *HERE, "--region", "x"], 2, "--point and --region exclude each other"),
        (["images", COLLECTION, "--ids", "--json"], 2, "--json and --ids exclude each other"),
        (["thumbnail", ASSET, "--bands", "B4", "--max", "much", "-o", "x.png"], 2, r"'much': write N\[,N,N\]"),
        (["thumbnail", ASSET, "--bands", "B4", "--max", "9", "-o", "no/x.png"], 5, "no/x.png: the folder .* does not exist"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_asked(run, emulator, arguments, status, said):
    done = run(*arguments)
    assert done.status == status, done
    assert re.search(said, done.err), done
    assert (done.out, asked(emulator)) == ("", [])


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["images", "COPERNICUS/NOPE"], 2, "does not exist"),
        (["images", "LANDSAT"], 2, "LANDSAT is not an image collection but a folder"),
        (["images", ASSET], 2, "is not an image collection but an image"),
        (["images", "projects/p-private-1/assets/secret"], 6, "Permission 'earthengine.assets.get' denied"),
        (["images", COLLECTION, "--order-by", "NOTHING"], 2, "no image of .* has a property 'NOTHING'"),
        (["inspect", "NOPE"], 2, "does not exist"),
        (["thumbnail", COLLECTION, "--max", "3000", "-o", "x.png"], 2, "is not an image but an image collection"),
        (["thumbnail", ASSET, "--bands", "B99", "--max", "3000", "-o", "x.png"], 2, "no band 'B99'"),
        (["thumbnail", ASSET, "--bands", "B4,B3", "--max", "3000", "-o", "x.png"], 2, "one band, or three"),
    ],
)  # fmt: skip
def test_what_is_not_there_ends_with_one_line(run, tmp_path, arguments, status, said):
    done = run(*arguments, cwd=tmp_path)
    assert done.status == status, done
    assert re.search(said, done.err), done
    assert (done.out, len(done.err.splitlines())) == ("", 1)
    assert not (tmp_path / "x.png").exists()


# inspect -------------------------------------------------------------------------------------------------------


def test_a_folder_and_a_collection_say_how_much_they_hold(run, emulator):
    assert run("inspect", "LANDSAT").out.splitlines() == [
        "LANDSAT",
        "type: FOLDER",
        "name: projects/earthengine-public/assets/LANDSAT",
        "holds: 3 assets",
    ]
    said = run("inspect", COLLECTION).out.splitlines()
    assert said[-1] == "holds: 2 assets"
    assert any(line.split() == ["B8", "NIR,", "×", "0.0001,", "0.8351", "µm"] for line in said)
    assert run("inspect", "EMULATOR/SERIES").out.splitlines()[-1] == "holds: 1,000 assets or more"
    emulator.control("configure", {"faults": [{"fault": "permission-403", "on": "list"}]})
    assert "holds" not in run("inspect", COLLECTION).out


def test_json_of_a_folder_is_its_document(run):
    assert run("inspect", "LANDSAT", "--json").document == {
        "type": "FOLDER",
        "name": "projects/earthengine-public/assets/LANDSAT",
        "id": "LANDSAT",
    }


def test_an_image_has_sixteen_bands_and_b1_is_wide(run):
    lines = run("inspect", ASSET).out.splitlines()
    table = lines[lines.index("") + 2 :]
    table = table[: table.index("")]
    assert len(table) == 16
    assert table[0].split() == [
        "B1",
        "INT",
        "0…65535",
        "1830×1830",
        "60",
        "EPSG:32610",
        "MEAN",
        "-",
        "Aerosols,",
        "×",
        "0.0001,",
        "0.4439",
        "µm",
    ]
    assert table[-1].endswith("2 bit fields")
    assert not any(line.startswith("holds") for line in lines)


# thumbnail -----------------------------------------------------------------------------------------------------


def test_the_quickstarts_thumbnail(run, tmp_path):
    done = run(
        "thumbnail", ASSET, "--bands", "B4,B3,B2", "--min", 0, "--max", 3000, "--size", 256, "-o", "look.png",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.status == 0, done
    with Image.open(tmp_path / "look.png") as picture:
        assert (picture.size, picture.format) == ((256, 256), "PNG")
    assert done.out == f"look.png: 256 × 256 pixels, {(tmp_path / 'look.png').stat().st_size / 1e3:.0f} kB\n"


def test_a_band_that_a_thumbnail_has_not_is_met_by_name_or_colour(run):
    for asked, meant in (("red", "red, which is B4"), ("B04", "B4"), ("NIR", "nir, which is B8")):
        done = run("thumbnail", ASSET, "--bands", asked, "--max", 3000, "-o", "x.png")
        assert done.status == 2, done
        assert f"has no band {asked!r} (did you mean {meant}?)" in done.err


def test_a_palette_and_a_value_for_each_band(run, tmp_path):
    done = run("thumbnail", ASSET, "--bands", "B8", "--max", 5000, "--palette", "black,00ff00", "--gamma", 1.5, "--size", 32, "-o", "g.png", cwd=tmp_path)  # fmt: skip
    assert done.status == 0, done
    red, green, blue = Image.open(tmp_path / "g.png").convert("RGB").getextrema()
    assert red == blue == (0, 0)
    assert green[1] > green[0]
    done = run("thumbnail", ASSET, "--bands", "B4,B3,B2", "--max", "3000,1,3000", "--size", 32, "-o", "e.png", cwd=tmp_path)  # fmt: skip
    assert done.status == 0, done
    assert Image.open(tmp_path / "e.png").convert("RGB").getextrema()[1] == (255, 255)


# The library ---------------------------------------------------------------------------------------------------


def test_the_library_lists_images(where):
    found = downloader.images(
        COLLECTION,
        start=date(2017, 4, 1),
        end=date(2017, 5, 1),
        region={"type": "Point", "coordinates": [-122.085, 37.422]},
        filter="CLOUDY_PIXEL_PERCENTAGE < 10",
        **where,
    )
    assert [(image.id, image.properties["CLOUDY_PIXEL_PERCENTAGE"]) for image in found] == [
        (OTHER, 4.3166),
        (ASSET, 0),
    ]
    assert len(found[1].bands) == 16
    assert (found[1].bands[0].id, str(found[1].bands[0].dtype), found[1].bands[0].grid.transform.scale_x) == ("B1", "uint16", 60)  # fmt: skip


def test_a_region_may_be_an_object_that_speaks_geojson(where):
    class Shape:
        @property
        def __geo_interface__(self):
            return {"type": "Point", "coordinates": (-122.085, 37.422)}

    assert [image.id for image in downloader.images(COLLECTION, region=Shape(), **where)] == [OTHER, ASSET]
    with pytest.raises(downloader.JobError, match=r"region: .*give .*GeoJSON"):
        downloader.images(COLLECTION, region=5, **where)


async def test_the_library_works_inside_a_running_loop(where, tmp_path):
    png = downloader.thumbnail(ASSET, tmp_path / "x.png", bands=["B8"], max=5000, size=16, **where)
    assert (tmp_path / "x.png").read_bytes() == png
    assert downloader.thumbnail(ASSET, bands=["B8"], max=5000, size=16, **where) == png
    assert downloader.inspect("LANDSAT", **where)["type"] == "FOLDER"


def test_a_thumbnail_that_cannot_be_written(where, tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(downloader.RefusedError, match=r"folder.png: cannot be written"):
        downloader.thumbnail(ASSET, tmp_path / "folder.png", bands=["B8"], max=5000, size=16, **where)


def test_a_filter_by_a_property_that_no_image_has_says_so(emulator):
    """Where nothing matches and the name is wrong, the name is the reason; a right one is not questioned."""
    options = ("--endpoint", emulator.url, "--key-file", emulator.key_file)
    period = ("--start", "2017-04-01", "--end", "2017-06-01")
    wrong = command("images", "COPERNICUS/S2", *period, "--filter", "CLOUD < 10", *options)
    assert wrong.out == (
        "no image of COPERNICUS/S2 matches; its first image has no property CLOUD; did you mean CLOUDY_PIXEL_PERCENTAGE?\n"
    )
    right = command("images", "COPERNICUS/S2", *period, "--filter", "CLOUDY_PIXEL_PERCENTAGE < -1", *options)
    assert right.out == "no image of COPERNICUS/S2 matches\n"
    gone = command("inspect", "COPERNICUS/S2_SR", *options)
    assert gone.status == 2
    assert "Did you mean COPERNICUS/S2_SR_HARMONIZED" in gone.err
