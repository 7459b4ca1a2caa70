"""Choices that a shell completes: names of endpoints, and keys of the job file with their values."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem


def endpoints(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an endpoint."""
    names = ("auto", "standard", "high-volume", "emulator")
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def keys(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a key of the job file for `--set`; after the `=`, one of its choices."""
    return keys_beginning(incomplete)


def keys_beginning(incomplete: str) -> list[CompletionItem]:
    """Return the keys of the job file that begin so, or the choices of the one that ends with `=`."""
    from downloader.job.schema import job_schema

    found: list[CompletionItem] = []

    def walk(node: dict[str, Any], key: str) -> None:
        branches = [node, *node.get("anyOf", [])]
        sections = [branch["properties"] for branch in branches if "properties" in branch]
        for section in sections:
            for name, child in section.items():
                walk(child, f"{key}.{name}".lstrip("."))
        choices = [choice for branch in branches for choice in branch.get("enum", ())]
        if any(branch.get("type") == "boolean" for branch in branches):
            choices += ["true", "false"]
        choices = choices or [one for one in node.get("examples", ()) if isinstance(one, str | int | float)]
        if incomplete.startswith(f"{key}="):
            found.extend(CompletionItem(f"{key}={choice}") for choice in choices)
        elif not sections:
            found.append(CompletionItem(f"{key}=", help=node.get("description")))

    walk(job_schema(), "")
    return [item for item in found if item.value.startswith(incomplete)]
