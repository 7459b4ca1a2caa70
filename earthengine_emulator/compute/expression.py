"""Expression graphs: from JSON to a value (docs/contract.md §4.7)."""

from __future__ import annotations

import base64
import binascii
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from earthengine_emulator.api.errors import ApiError, invalid_argument

MAX_DEPTH: Final = 100
Function = Callable[..., object]
Library = Mapping[str, Function]
"""Function name → what it does, its parameters named as the arguments of the API are."""

_KINDS: Final = (
    "constantValue",
    "integerValue",
    "bytesValue",
    "arrayValue",
    "dictionaryValue",
    "functionInvocationValue",
    "functionDefinitionValue",
    "argumentReference",
    "valueReference",
)


_signature: Final = lru_cache(maxsize=1024)(inspect.signature)
"""A graph calls a few functions thousands of times."""


@dataclass(slots=True)
class _Scope:
    """The arguments of one call, and what was worked out within it."""

    arguments: Mapping[str, object] = field(default_factory=dict)
    known: dict[str, object] = field(default_factory=dict)


class Expression:
    """One graph and the functions it may use."""

    def __init__(self, document: object, library: Library, max_depth: int = MAX_DEPTH) -> None:
        if not isinstance(document, Mapping):
            raise invalid_argument("Expression is missing.")
        values, result = document.get("values"), document.get("result")
        if not isinstance(values, Mapping) or not isinstance(result, str):
            raise invalid_argument("Expression needs 'values' and the key of its 'result'.")
        self._values = values
        self._result = result
        self._library = library
        self._max_depth = max_depth
        self._open: set[tuple[int, str]] = set()

    def value(self) -> object:
        """Evaluate the graph.

        Raises:
            ApiError: 400 for graphs that are malformed, too deep, or use what is not supported.
        """
        return self._refer(self._result, _Scope(), 0)

    def _refer(self, key: object, scope: _Scope, depth: int) -> object:
        """Return the value of a key, worked out once per scope."""
        if not isinstance(key, str) or key not in self._values:
            raise invalid_argument(f"Expression has no value '{key}'.")
        if key in scope.known:
            return scope.known[key]
        mark = (id(scope), key)
        if mark in self._open:
            raise invalid_argument(f"Expression value '{key}' depends on itself.")
        self._open.add(mark)
        try:
            scope.known[key] = self._node(self._values[key], scope, depth + 1)
        finally:
            self._open.discard(mark)
        return scope.known[key]

    def _node(self, node: object, scope: _Scope, depth: int) -> object:
        """Return the value of one ValueNode."""
        if depth > self._max_depth:
            raise invalid_argument(f"Expression is nested more than {self._max_depth} deep.")
        present = [kind for kind in _KINDS if isinstance(node, Mapping) and kind in node]
        if len(present) != 1 or not isinstance(node, Mapping):
            raise invalid_argument("Expression node must have exactly one kind of value.")
        (kind,) = present
        content: Any = node[kind]
        simple: dict[str, Callable[[], object]] = {
            "constantValue": lambda: content,
            "integerValue": lambda: int(content),
            "bytesValue": lambda: base64.b64decode(content),
            "arrayValue": lambda: [self._node(n, scope, depth + 1) for n in content.get("values", [])],
            "dictionaryValue": lambda: {
                k: self._node(n, scope, depth + 1) for k, n in content.get("values", {}).items()
            },
            # A reference is no level of its own: it is what a node of `values` is reached by.
            "valueReference": lambda: self._refer(content, scope, depth - 1),
            "functionDefinitionValue": lambda: self._define(content, scope, depth),
            "functionInvocationValue": lambda: self._invoke(content, scope, depth),
        }
        if kind == "argumentReference":
            if content not in scope.arguments:
                raise invalid_argument(f"Expression refers to an unknown argument '{content}'.")
            return scope.arguments[content]
        try:
            return simple[kind]()
        except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
            raise invalid_argument(f"Malformed expression node '{kind}': {error}") from error

    def _define(self, content: Mapping[str, Any], scope: _Scope, depth: int) -> Function:
        """Return a function of the graph's own."""
        names = content["argumentNames"]

        def call(*values: object, **named: object) -> object:
            given = {**dict(zip(names, values, strict=bool(not named))), **named}
            inner = _Scope({**scope.arguments, **given})
            return self._refer(content["body"], inner, depth)

        return call

    def _invoke(self, content: Mapping[str, Any], scope: _Scope, depth: int) -> object:
        """Return the value of a call."""
        given = content.get("arguments", {})
        if "functionReference" in content:
            function: object = self._refer(content["functionReference"], scope, depth)
            if not callable(function):
                raise invalid_argument("Expression calls a value that is not a function.")
            return function(**{key: self._node(n, scope, depth + 1) for key, n in given.items()})
        name = content["functionName"]
        if name not in self._library:
            raise ApiError(400, f"Function '{name}' is not supported by the emulator.")
        named = self._library[name]
        arguments = {key: self._node(n, scope, depth + 1) for key, n in given.items()}
        signature = _signature(named)
        try:
            bound = signature.bind(**arguments)
        except TypeError as error:
            raise invalid_argument(f"{name}: {error}.") from error
        for key, value in bound.arguments.items():
            if value is None and signature.parameters[key].default is inspect.Parameter.empty:
                raise invalid_argument(f"{name}: Parameter '{key}' is required and may not be null.")
        try:
            return named(*bound.args, **bound.kwargs)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise invalid_argument(f"{name}: invalid argument ({error}).") from error
