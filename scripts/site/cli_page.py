"""The page of the command line, from the commands' own help."""

from __future__ import annotations

import inspect

import click

from downloader.cli.main import downloader

__all__ = ["cli_page"]

_HEAD = """# Command line

Made from the commands' own help; `downloader COMMAND --help` prints the same. Every command is also one
[library call](python.md). Options that name an environment variable take their value from it where they are not given.
"""


def cli_page() -> str:
    """All commands in the order of `downloader --help`, as Markdown."""
    context = click.Context(downloader, info_name="downloader")
    parts = [_HEAD]
    for name in downloader.list_commands(context):
        command = downloader.get_command(context, name)
        if command is not None and not command.hidden:
            parts.append(_section(command, click.Context(command, context, info_name=name)))
    return "\n".join(parts)


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [f"## downloader {context.info_name}", ""]
    lines += [_prose(command.help), "", "```text", f"{context.command_path} {usage}", "```", ""]
    options = [p for p in command.get_params(context) if isinstance(p, click.Option) and not p.hidden]
    rows = [_row(option) for option in options if "--help" not in option.opts]
    if rows:
        lines += ["| option | |", "|---|---|", *rows, ""]
    lines += _epilog(command.epilog)
    return "\n".join(lines)


def _prose(text: str | None) -> str:
    return _escape(inspect.cleandoc(text or "").replace("\b\n", "").strip())


def _escape(text: str) -> str:
    """Characters that Markdown would take for its own."""
    return text.replace("<", "&lt;").replace("*", r"\*").replace("|", r"\|")


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    if not (option.is_flag or option.count):
        kind = option.metavar or (
            "\\|".join(option.type.choices)
            if isinstance(option.type, click.Choice)
            else option.type.name.upper()
        )
        names += f" {_escape(kind) if option.metavar else kind}"
    said = [_escape(" ".join((option.help or "").split()))]
    if option.multiple:
        said.append("May be repeated.")
    if option.required:
        said.append("Required.")
    if option.envvar:
        variables = [option.envvar] if isinstance(option.envvar, str) else option.envvar
        said.append("Environment: " + ", ".join(f"`{name}`" for name in variables) + ".")
    default = option.default
    shown = isinstance(default, (int, float, str)) and not isinstance(default, bool) and not option.count
    if shown and default != "":
        said.append(f"Default: `{default}`.")
    return f"| {names} | {' '.join(said)} |"


def _epilog(epilog: str | None) -> list[str]:
    """Blocks that click leaves as they are written stay so, the others are prose."""
    if not epilog:
        return []
    lines: list[str] = []
    for block in epilog.strip("\n").split("\n\n"):
        if not block.startswith("\b"):
            lines += [_prose(block), ""]
            continue
        written = block.removeprefix("\b").strip("\n").splitlines()
        if written and written[0].rstrip().endswith(":"):
            lines += [_escape(written.pop(0)), ""]
        indent = min((len(line) - len(line.lstrip()) for line in written if line.strip()), default=0)
        lines += ["```text", *(line[indent:] for line in written), "```", ""]
    return lines
