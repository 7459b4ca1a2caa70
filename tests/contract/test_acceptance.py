"""Every row of tests/contract/acceptance.md has a test, and the page of the site lists them."""

from __future__ import annotations

from tests.contract import acceptance


def test_every_row_has_a_test():
    rows = acceptance.tests_by_row()
    assert acceptance.rows() == list(range(1, acceptance.ROWS + 1))
    assert [number for number in range(1, acceptance.ROWS + 1) if number not in rows] == []
    assert [number for number in rows if not 1 <= number <= acceptance.ROWS] == []


def test_rows_that_name_a_client_are_run_with_it():
    files = {number: {file for file, _ in tests} for number, tests in acceptance.tests_by_row().items()}
    for number in (90, *range(92, 99)):
        assert "test_rows_downloader.py" in files[number], f"row {number} with the downloader"
    for number in (15, 92, 98):
        assert "test_official_client.py" in files[number], f"row {number} with the official client"
    for number in (16, 46, 92):
        assert "test_gdal.py" in files[number], f"row {number} with GDAL"


def test_the_page_of_the_site_names_the_tests_of_each_row():
    lines = acceptance.page().splitlines()
    for number, tests in acceptance.tests_by_row().items():
        (line,) = (line for line in lines if line.startswith(f"| {number} |"))
        assert line.count(" | ") == 3
        assert all(f"`{file}`" in line for file, _ in tests)
