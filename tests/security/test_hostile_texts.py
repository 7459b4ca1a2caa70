"""Texts that are meant to harm: YAML that makes objects, names with control characters, headers of NPY without end."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import sys

import pytest
from rich.console import Console

from downloader.cli import main
from downloader.cli.options import set_up_logging
from downloader.cli.output import say
from downloader.earthengine import npy
from downloader.errors import JobError
from downloader.events import Notice
from downloader.job import Job
from downloader.job.yaml import parse
from downloader.progress.terminal import Bar, Lines


@pytest.mark.parametrize(
    "tag", ["object/apply:os.system", "object/new:os.system", "name:os.system", "module:os"]
)
@pytest.mark.parametrize("value", ["[touch pwned]", "{args: [touch pwned]}", "touch pwned"])
def test_a_tag_makes_no_object(tmp_path, monkeypatch, tag, value):
    monkeypatch.chdir(tmp_path)
    made: object = None
    with contextlib.suppress(JobError):  # a scalar with a tag cannot be a value of a job
        made = parse(f"a: !!python/{tag} {value}\n", "job.yaml").values["a"]
    assert type(made) in {list, dict, type(None)}
    assert list(tmp_path.iterdir()) == []


def test_merges_do_not_multiply():
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 8)}], k{i}: 1}}" for i in range(1, 12)]
    assert len(parse("\n".join(lines), "job.yaml").values["a11"]) == 12


@pytest.mark.parametrize(
    "text", ["a:\n " + "- " * 50_000 + "x", "? " * 20_000 + "x", "[" * 100_000, "a: " + "9" * 9999]
)
def test_depth_and_length_have_an_end(text):
    with pytest.raises(JobError):
        parse(text, "job.yaml")


def test_a_nul_is_in_no_path():
    one = Job.parse('source: {asset: A/B}\nmosaic: {path: "a\\0b"}')
    with pytest.raises(JobError, match="NUL"):
        _ = one.mosaic_path
    with pytest.raises(JobError, match="NUL"):
        one.resolve("a\0b")


@pytest.mark.parametrize("piece", ["-", "1+", "(", "[", "{1:", "not ", "a.", "lambda:", "'a'", "f''", "~"])
def test_a_header_nested_without_end_is_an_error_like_any_other(piece):
    header = (piece * 65_000)[:65_000].encode()
    body = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    with pytest.raises(npy.NpyError):
        npy.decode(body, None, (1, 1))


@pytest.mark.parametrize(
    "steer", ["\x1b]0;title\x07", "\x1b[2J", "\r", "\x9b31m", "\x00", "\x7f", "\u202e", "\u2028", "\u2066"]
)
def test_a_name_of_the_catalogue_does_not_steer_the_terminal(capsys, steer):
    say(f"B2{steer}\tB3\nB4")
    out = capsys.readouterr().out
    assert out.endswith("B3\nB4\n")
    assert all(c.isprintable() or c in "\t\n" or c == "\ufffd" for c in out)


@pytest.mark.parametrize("harmful", ["\x1b[2J", "\u202e", "\u2066"])
def test_nor_does_it_in_a_log_a_notice_or_a_message(capsys, harmful):
    set_up_logging(1)
    logging.getLogger("downloader.test").info("B2%s", harmful)
    Lines(sys.stderr)(Notice(f"B2{harmful}"))
    bar = io.StringIO()
    Bar(Console(file=bar, force_terminal=True))(Notice(f"B2{harmful}"))
    assert main(["run", f"B2{harmful}.yaml"]) == 2
    said = capsys.readouterr().err + bar.getvalue()
    assert said.count("B2\ufffd") == 4
    assert harmful[0] not in said.replace("\x1b[?25", "")
