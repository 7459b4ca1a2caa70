"""The list of algorithms: the signatures from which clients build their functions (docs/contract.md §8, §4.7).

`signatures.txt` holds one line for each function that the emulator evaluates:
`Name(argument: Type, argument: Type = default, …) -> Type`; an argument with a default is optional.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

_LINE: Final = re.compile(r"^([\w.]+)\((.*)\) -> (\w+)$")


@cache
def document() -> dict[str, Any]:
    """Return the answer of algorithms.list."""
    text = Path(__file__).with_name("signatures.txt").read_text(encoding="ascii")
    return {"algorithms": [_entry(line) for line in text.splitlines()]}


def _entry(line: str) -> dict[str, Any]:
    match = _LINE.match(line)
    if match is None:
        raise ValueError(f"not a signature: {line}")
    name, arguments, returned = match.groups()
    return {
        "name": f"algorithms/{name}",
        "description": f"{name}, as far as the emulator supports it.",
        "returnType": returned,
        "arguments": [_argument(text) for text in arguments.split(", ") if text],
    }


def _argument(text: str) -> dict[str, Any]:
    declared, _, default = text.partition(" = ")
    name, kind = declared.split(": ")
    argument: dict[str, Any] = {"argumentName": name, "type": kind, "description": f"The {name}."}
    if default:
        argument["optional"] = True
        value = json.loads(default)
        if value is not None:
            argument["defaultValue"] = value
    return argument
