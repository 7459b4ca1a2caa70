"""Pipes where files are expected: a command that opened one would wait for its writer for ever."""

from __future__ import annotations

import os

import pytest

from downloader.__main__ import main


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("run", "PIPE"), 2),
        (("plan", "PIPE"), 2),
        (("status", "PIPE"), 5),
        (("verify", "PIPE"), 5),
        (("overviews", "PIPE"), 5),
        (("images", "COPERNICUS/S2", "--region", "PIPE"), 2),
        (("inspect", "COPERNICUS/S2", "--key-file", "PIPE"), 6),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else None,
)
def test_a_pipe_is_refused(tmp_path, capsys, words, status):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main([str(pipe) if word == "PIPE" else word for word in words]) == status
    said = capsys.readouterr().err
    assert str(pipe) in said
    assert len(said.splitlines()) == 1
