"""What people expect of any command line: help with examples, versions, suggestions, completion."""

from __future__ import annotations

import re
import subprocess

import pytest

from downloader.cli.main import _COMMANDS
from tests.harness import cli, command, environment


@pytest.mark.parametrize("name", _COMMANDS)
def test_help_has_examples_of_the_command_that_parse(name):
    text = command(name, "--help").out
    assert "Examples:" in text
    examples = re.findall(rf"^\s*(?:\S*\()?downloader {name}\b.*$", text, re.MULTILINE)
    assert examples, text
    options = set(re.findall(r"--[a-z][a-z-]+", text.split("Examples:")[0] + text))
    assert not {option for example in examples for option in re.findall(r"--[a-z-]+", example)} - options


def test_the_group_names_every_command_and_a_first_day():
    text = command("--help").out
    for name in _COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
    order = [text.index(f"  downloader {name} ") for name in ("init", "plan", "run", "status", "preview")]
    assert order == sorted(order)


def test_help_fits_eighty_columns_where_it_can():
    long = [line for line in command("--help").out.splitlines() if len(line) > 80]
    assert all("downloader " in line for line in long), "only commands to paste are longer"


def test_versions_that_matter_stand_in_one_block():
    ended = command("--version")
    first, *rest = ended.out.splitlines()
    assert first.startswith("downloader, version ")
    found = dict(line.split(maxsplit=1) for line in rest)
    assert {"python", "zarr", "numpy", "httpx", "aiohttp", "pyproj", "google-auth"} <= set(found)
    assert ended.status == 0


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["rnu"], "run"),
        (["satus"], "status"),
        (["download"], "run"),
        (["estimate"], "plan"),
        (["start"], "run"),
        (["job.yaml"], "downloader run job.yaml"),
        (["run", "x.yaml", "--overwrit"], "--overwrite"),
        (["plan", "x.yaml", "--jsn"], "--json"),
        (["status", "x", "--wach"], "--watch"),
    ],
)
def test_slips_are_answered_with_what_was_meant(arguments, meant):
    ended = command(*arguments)
    assert ended.status == 2
    assert re.search(rf"Did you mean (one of: )?'?{re.escape(meant)}", ended.err), ended


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--retries=3", "--set limits.retries=…"),
        ("--concurrency=3", "--set limits.concurrency=…"),
        ("--bands=B4", "--set source.bands=…"),
        ("--workers=4", "--set limits.concurrency=N"),
        ("--threads=4", "--set limits.concurrency=N"),
        ("--output=x.zarr", "--set mosaic.path=PATH"),
        ("--dry-run", "downloader plan JOB"),
        ("--force", "--yes"),
        ("--resume", "every run resumes"),
    ],
)
def test_options_of_other_tools_are_answered_with_ours(option, meant):
    ended = command("run", "x.yaml", option)
    assert ended.status == 2
    assert meant in ended.err, ended
    assert "--overwrite" not in ended.err, "what deletes is never suggested"


def test_a_job_file_with_the_other_ending_is_found(tmp_path):
    (tmp_path / "quickstart.yaml").write_text("")
    ended = command("run", tmp_path / "quickstart.yml")
    assert ended.status == 2
    assert f"Did you mean {tmp_path / 'quickstart.yaml'}?" in ended.err
    assert "mean" not in command("run", tmp_path / "elsewhere.yaml").err


@pytest.mark.parametrize("command_line", [["preview", "m.zarr"], ["thumbnail", "A/B", "--max", "1"]])
def test_a_picture_is_a_png_and_is_named_so(command_line):
    ended = command(*command_line, "-o", "x.jpg")
    assert ended.status == 2
    assert "ends in .png" in ended.err


def test_help_of_the_emulator_looks_like_the_others():
    text = cli("emulate", "--help").out
    assert text.startswith("Usage: downloader emulate [OPTIONS]\n\n  ")
    assert "\nOptions:\n  --host" in text


def test_what_is_like_nothing_is_not_guessed():
    ended = command("zzzzqqq")
    assert ended.status == 2
    assert "mean" not in ended.err


# ---------------------------------------------------------------- completion


def completed(words: str, cwd=None) -> list[str]:
    """What bash is offered behind these words."""
    parts = words.split(" ")
    done = cli(
        env={
            "_DOWNLOADER_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["downloader", *parts]),
            "COMP_CWORD": str(len(parts)),
        },
        cwd=cwd,
    )
    return [line.partition(",")[2] for line in done.out.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("pl", ["plan"]),
        ("run --over", ["--overwrite"]),
        ("run --accept ", ["updates", "new-images"]),
        ("run --log-format j", ["json"]),
        ("inspect --endpoint ", ["auto", "standard", "high-volume", "emulator"]),
        ("run --set limits.con", ["limits.concurrency="]),
        (
            "run --set mosaic.compressor=",
            ["mosaic.compressor=lz4", "mosaic.compressor=zstd", "mosaic.compressor=none"],
        ),
        ("run --set mosaic.overviews=", ["mosaic.overviews=true", "mosaic.overviews=false"]),
        ("run --set source.every=d", ["source.every=day"]),
        ("completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_words_are_completed(words, offered):
    assert completed(words) == offered


@pytest.mark.parametrize(
    ("shell", "word"),
    [
        ("bash", "complete -o nosort -F"),
        ("zsh", "compdef"),
        ("fish", "complete --no-files --command downloader"),
    ],
)
def test_scripts_for_shells(shell, word):
    ended = command("completion", shell)
    assert ended.status == 0
    assert word in ended.out
    assert "_DOWNLOADER_COMPLETE" in ended.out


def test_bash_takes_its_script():
    script = command("completion", "bash").out
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\ncomplete -p downloader"],
        capture_output=True, text=True, check=True, env=environment(), timeout=60,
    )  # fmt: skip
    assert "downloader" in done.stdout


def test_help_and_completion_scripts_need_nothing_heavy():
    import sys

    code = (
        "import sys\nfrom downloader.__main__ import main\n"
        "for words in (['--help'], ['--version'], ['completion', 'bash']): main(words)\n"
        "print('heavy:', *{'numpy', 'pydantic', 'httpx', 'zarr', 'rich'} & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "heavy:"
