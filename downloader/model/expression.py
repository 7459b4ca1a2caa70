"""Serialised Earth Engine expressions: read, checked, and written so that equal graphs are equal texts.

The official client numbers and inlines nodes as it likes, differently from version to version (docs/contract.md §4.7). Here
every node stands once under `values`, numbered in the order of a walk that only the graph decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, runtime_checkable

from downloader.errors import JobError
from downloader.model.time import instant_us
from downloader.text import cut

MAX_BYTES: Final = 10_485_760 - 2**20
"""Bytes of the longest expression; the rest of the largest request that the service takes (docs/contract.md §5.1) holds
grid, bands and the masks that are added."""

MAX_DEPTH: Final = 100
"""The service rejects graphs that are nested deeper (docs/contract.md §5.1)."""

_KINDS: Final = (
    "constantValue", "integerValue", "bytesValue", "arrayValue", "dictionaryValue",
    "functionInvocationValue", "functionDefinitionValue", "argumentReference", "valueReference",
)  # fmt: skip


@runtime_checkable
class Serializable(Protocol):
    """Anything that serialises itself as the official client's objects do, such as an `ee.Image`."""

    def serialize(self) -> str:
        """Return the expression as JSON text."""


def load_expression(value: object, key: str) -> str:
    """Return the canonical text of an expression given as JSON text, as a mapping, or as an object that serialises itself.

    Args:
        value: the expression.
        key: key of the job file that gave it.

    Raises:
        JobError: it is no expression.
    """
    if isinstance(value, Serializable):
        value = value.serialize()
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise JobError(f"is no JSON: {error}", key=key) from None
    if not isinstance(value, Mapping):
        raise JobError("is no serialised expression; give what ee.Image.serialize() returns", key=key)
    return checked(canonical(value, key), key)


def checked(text: str, key: str) -> str:
    """Return an expression unchanged. Raises JobError with this key if it is longer than the service takes."""
    if len(text) > MAX_BYTES:
        raise JobError(
            f"the expression has {len(text):,} bytes, and the service takes {MAX_BYTES:,} at most; use fewer images or "
            "a shorter expression",
            key=key,
        )
    return text


@lru_cache(maxsize=4)
def parsed(text: str) -> dict[str, Any]:
    """Return an expression's document; the last few are kept, since each of an image's requests sends it."""
    document: dict[str, Any] = json.loads(text)
    return document


def graph_of(text: str) -> dict[str, Any]:
    """Return the result of a canonical expression as a node that holds its children in place of references to them."""
    document = parsed(text)
    values: dict[str, Any] = document["values"]
    known: dict[str, dict[str, Any]] = {}

    def node(key: str) -> dict[str, Any]:
        if key not in known:
            [(kind, content)] = values[key].items()
            known[key] = {kind: _content(kind, content, lambda of: node(of["valueReference"]), node)}
        return known[key]

    return node(document["result"])


def document_of(node: Mapping[str, Any], key: str) -> str:
    """Return canonical JSON of an expression whose result is a node; longer ones than the service takes are refused.

    Raises:
        JobError: with this key; it is too long, or nested too deeply.
    """
    return checked(canonical({"result": "result", "values": {"result": node}}, key), key)


def canonical(document: Mapping[str, Any], key: str | None = None) -> str:
    """Return compact JSON of the same graph: nodes once each, numbered from the leaves, keys in order.

    Raises:
        JobError: no graph, a reference to nothing, a cycle, or one nested too deeply.
    """
    values = document.get("values")
    result = document.get("result")
    if not isinstance(values, Mapping) or not isinstance(result, str):
        raise JobError('needs "result" and "values", as ee.Image.serialize() writes them', key=key)
    writer = _Writer(values, key)
    first = writer.reference(result, 0)
    return json.dumps({"result": first, "values": writer.written}, sort_keys=True, separators=(",", ":"))


def call(function: str, **arguments: Any) -> dict[str, Any]:
    """Return a node that invokes a function; arguments are nodes."""
    return {"functionInvocationValue": {"functionName": function, "arguments": arguments}}


def constant(value: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    """Return a node of a constant."""
    return {"constantValue": value}


def image_load(asset: str, update_time: str = "") -> dict[str, Any]:
    """Return a node that loads an image; with `update_time`, the version of it that has this `updateTime`.

    The service numbers versions by their update time in microseconds. A number of another unit is refused, or keeps the
    request waiting until it times out.

    Raises:
        JobError: `update_time` is no time.
    """
    version = instant_us(update_time)
    pin = {} if version is None else {"version": constant(version)}
    return call("Image.load", id=constant(asset), **pin)


def number(value: float) -> dict[str, Any]:
    """Return a node of an image that has one value everywhere."""
    return call("Image.constant", value=constant(value))


def select(
    image: dict[str, Any], bands: Sequence[str | int], names: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return a node of an image with these bands alone, by name or position, under new names if there are any."""
    renamed = {} if names is None or list(names) == list(bands) else {"newNames": constant(list(names))}
    return call("Image.select", input=image, bandSelectors=constant(list(bands)), **renamed)


def add_bands(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a node of an image with the bands of all images, in order."""
    return joined_by("Image.addBands", images, ("dstImg", "srcImg"))


def joined_by(
    name: str, images: Sequence[dict[str, Any]], arguments: tuple[str, str] = ("image1", "image2")
) -> dict[str, Any]:
    """Return images joined by a function of two, pair by pair: the depth, which is limited, grows with the logarithm of their number."""
    parts = list(images)
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=False)
        joined = [call(name, **dict(zip(arguments, pair, strict=True))) for pair in pairs]
        parts = joined + parts[len(joined) * 2 :]
    return parts[0]


def function(arguments: Sequence[str], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node that defines a function; `canonical` gives its body an entry of its own."""
    return {"functionDefinitionValue": {"argumentNames": list(arguments), "body": dict(body)}}


class _Writer:
    def __init__(self, values: Mapping[str, Any], key: str | None) -> None:
        self._values = values
        self._key = key
        self._keys: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._met: dict[int, str] = {}
        """Nodes by identity: graphs that are built here use the same node in several places."""
        self._heights: list[int] = []
        """How deeply each written node is nested below itself."""
        self._open: set[str] = set()
        self.written: dict[str, Any] = {}

    def reference(self, key: Any, depth: int) -> str:  # noqa: ANN401  # from JSON
        """Return the new key of the node under an old one."""
        if not isinstance(key, str) or key not in self._values:
            raise JobError(f"refers to {cut(repr(key))}, which is not among its values", key=self._key)
        if key in self._open:
            raise JobError(f"{cut(repr(key))} refers to itself", key=self._key)
        if key not in self._known:
            self._open.add(key)
            self._known[key] = self._node(self._values[key], depth)
            self._open.discard(key)
        return self._known[key]

    def _node(self, node: Any, depth: int) -> str:  # noqa: ANN401  # from JSON
        if id(node) not in self._met:
            self._met[id(node)] = self._write(node, depth)
        return self._met[id(node)]

    def _write(self, node: Any, depth: int) -> str:  # noqa: ANN401  # from JSON
        if depth > MAX_DEPTH:
            raise self._too_deep()
        if not isinstance(node, Mapping) or len(node) != 1 or next(iter(node)) not in _KINDS:
            raise JobError(f"{str(node)[:60]!r} is no node of an expression", key=self._key)
        kind, content = next(iter(node.items()))
        if kind == "valueReference":
            return self.reference(content, depth)
        children: list[str] = []

        def refer(of: Any) -> dict[str, str]:  # noqa: ANN401  # from JSON
            children.append(self._node(of, depth + 1))
            return {"valueReference": children[-1]}

        def function_of(given: Any) -> str:  # noqa: ANN401  # from JSON
            # A function's body may be a key, as JSON has it, or a node.
            is_node = isinstance(given, Mapping)
            children.append(self._node(given, depth + 1) if is_node else self.reference(given, depth + 1))
            return children[-1]

        try:
            written = {kind: _content(kind, content, refer, function_of)}
        except (AttributeError, KeyError, TypeError):
            raise JobError(f"{str(node)[:60]!r} is no {kind}", key=self._key) from None
        text = json.dumps(written, sort_keys=True)
        if text not in self._keys:
            height = 1 + max((self._heights[int(one)] for one in children), default=-1)
            if height > MAX_DEPTH:
                raise self._too_deep()
            self._heights.append(height)
            self._keys[text] = str(len(self._keys))
            self.written[self._keys[text]] = written
        return self._keys[text]

    def _too_deep(self) -> JobError:
        return JobError(f"is nested deeper than {MAX_DEPTH}, which the service refuses", key=self._key)


def _content(kind: str, content: Any, refer: Callable[[Any], Any], function_of: Callable[[Any], Any]) -> Any:  # noqa: ANN401  # to and from JSON
    """Return a node's content with its children replaced by `refer`, and its functions by `function_of`."""
    match kind:
        case "arrayValue":
            return {"values": [refer(node) for node in content["values"]]}
        case "dictionaryValue":
            return {"values": {name: refer(node) for name, node in sorted(content["values"].items())}}
        case "functionInvocationValue":
            called = (
                {"functionReference": function_of(content["functionReference"])}
                if "functionReference" in content
                else {"functionName": content["functionName"]}
            )
            arguments = {name: refer(node) for name, node in sorted(content.get("arguments", {}).items())}
            return {**called, "arguments": arguments}
        case "functionDefinitionValue":
            return {"argumentNames": list(content["argumentNames"]), "body": function_of(content["body"])}
        case _:
            return content
