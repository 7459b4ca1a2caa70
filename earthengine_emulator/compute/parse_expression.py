# ruff: noqa: A002, N803 - parameters are named as the API's arguments are
"""Image.parseExpression: arithmetic of bands written as text (docs/contract.md §4.7).

| | |
| --- | --- |
| bands | `b('B4')`, `b(0)`, `b('B4', 3)`, `b()` of the default image; `NIR`, `NIR.B4`, `NIR['B4']`, `NIR[0]` of others |
| arithmetic | `+ - * / % **`, unary `- + ~` |
| comparisons | `== != < > <= >=` |
| logic | `&& || !`, `a ? b : c` |
| bits | `& | ^ << >>` |
| functions | those of one or two images, such as `sqrt(x)`, `min(a, b)`, and casts: `float(x)`, `int(x)`, `byte(x)` |
| a name for the result | `evi = 2.5 * …` |

From the loosest: `?:`, `||`, `&&`, `|`, `^`, `&`, equality, order, shifts, sums, products, signs, powers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from earthengine_emulator.api.errors import invalid_argument
from earthengine_emulator.catalogue.model import Image
from earthengine_emulator.compute import computed
from earthengine_emulator.compute.arithmetic import LIBRARY as ARITHMETIC
from earthengine_emulator.compute.computed import both
from earthengine_emulator.compute.images import select
from earthengine_emulator.compute.operand import anonymous, described, pairs_of, result_kind, retyped
from earthengine_emulator.compute.operand import image as as_image
from earthengine_emulator.pixels.sampling import Part

Evaluator = Callable[[Mapping[str, Image]], Image]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")|(?P<sign>\*\*|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>=!&|^~?:()\[\],.]))"
)
_LEVELS: Final[Sequence[Mapping[str, str]]] = (
    {"||": "or"},
    {"&&": "and"},
    {"|": "bitwiseOr"},
    {"^": "bitwiseXor"},
    {"&": "bitwiseAnd"},
    {"==": "eq", "!=": "neq"},
    {"<": "lt", ">": "gt", "<=": "lte", ">=": "gte"},
    {"<<": "leftShift", ">>": "rightShift"},
    {"+": "add", "-": "subtract"},
    {"*": "multiply", "/": "divide", "%": "mod"},
)
"""Operators of two, the loosest first, and the image functions they stand for."""


def choose(condition: Image, one: Image, other: Image) -> Image:
    """Return `condition ? one : other`, pixel by pixel; masked where the condition is, or what it chooses."""

    def apply(parts: Sequence[Part]) -> Part:
        asked, yes, no = parts
        truth = asked[0] != 0
        values = np.where(truth, yes[0].astype(np.float64), no[0].astype(np.float64))
        if yes[1] is None and no[1] is None:
            return values, asked[1]
        return values, both(asked[1], np.where(truth, computed.everywhere(yes), computed.everywhere(no)))

    bands, planes = [], []
    for i, j in pairs_of(one, other):
        kind = result_kind(
            "same", [computed.kind_of(one.bands[i].type), computed.kind_of(other.bands[j].type)]
        )
        grid = one.bands[i] if one.bands[i].lattice is not computed.DEGREE else condition.bands[0]
        bands.append(retyped(grid, kind, one.bands[i].id))
        which = i if len(condition.bands) > 1 else 0
        sources = [
            computed.plane_of(condition, which),
            computed.plane_of(one, i),
            computed.plane_of(other, j),
        ]
        planes.append(computed.combine(sources, apply, kind))
    return anonymous(computed.image_of(bands, planes, described(condition, one)))


@dataclass(slots=True)
class _ExpressionParser:
    """A recursive descent; every method returns what works the part out, given the images."""

    tokens: list[tuple[str, str]]
    default: str
    known: frozenset[str]
    free: bool
    """True: other names are bands of the default image."""
    at: int = 0

    def whole(self) -> Evaluator:
        """Return an expression to its end, with or without a name for its result."""
        name = None
        if [kind for kind, _ in self.tokens[:1]] == ["name"] and self.tokens[1:2] == [("sign", "=")]:
            name, self.at = self.tokens[0][1], 2
        body = self.ternary()
        if self.at < len(self.tokens):
            raise _unexpected(self.tokens[self.at][1])
        if name is None:
            return body

        def named(images: Mapping[str, Image]) -> Image:
            result = body(images)
            if len(result.bands) != 1:
                raise invalid_argument(
                    f"Image.parseExpression: '{name}' cannot name {len(result.bands)} bands."
                )
            return replace(result, bands=(replace(result.bands[0], id=name),))

        return named

    def ternary(self) -> Evaluator:
        condition = self.binary(0)
        if not self.take("?"):
            return condition
        one = self.ternary()
        self.need(":")
        other = self.ternary()
        return lambda images: choose(condition(images), one(images), other(images))

    def binary(self, level: int) -> Evaluator:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while (sign := self.peek()) in _LEVELS[level]:
            self.at += 1
            left = _call(_LEVELS[level][sign], left, self.binary(level + 1))
        return left

    def unary(self) -> Evaluator:
        for sign, function in (("-", None), ("+", ""), ("!", "not"), ("~", "bitwiseNot")):
            if self.take(sign):
                inner = self.unary()
                if function == "":
                    return inner
                return _call(function, inner) if function else _call("multiply", inner, _number(-1))
        base = self.primary()
        return _call("pow", base, self.unary()) if self.take("**") else base

    def primary(self) -> Evaluator:
        if self.at >= len(self.tokens):
            raise invalid_argument("Image.parseExpression: The expression ends too early.")
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "number":
            return _number(float(text) if re.search(r"[.eE]", text) else int(text))
        if text == "(":
            inner = self.ternary()
            self.need(")")
            return inner
        if kind != "name":
            raise _unexpected(text)
        if self.take("("):
            return self.bands(self.default, ")") if text == "b" else self.function(text)
        return self.variable(text)

    def variable(self, name: str) -> Evaluator:
        if name not in self.known:
            if self.free:
                return _bands(self.default, [name])
            raise invalid_argument(f"Image.parseExpression: Unknown variable '{name}'.")
        if self.take("."):
            band = self.tokens[self.at][1] if self.at < len(self.tokens) else ""
            self.at += 1
            return _bands(name, [band])
        return self.bands(name, "]") if self.take("[") else lambda images: images[name]

    def bands(self, of: str, closing: str) -> Evaluator:
        """Return bands named between brackets; all where there is none."""
        chosen: list[str | int] = []
        while not self.take(closing):
            kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
            if kind not in ("number", "text"):
                raise _unexpected(text)
            chosen.append(int(float(text)) if kind == "number" else text[1:-1])
            self.at += 1
            if self.peek() != closing:
                self.need(",")
        return _bands(of, chosen) if chosen else lambda images: images[of]

    def function(self, name: str) -> Evaluator:
        arguments = []
        while not self.take(")"):
            arguments.append(self.ternary())
            if self.peek() != ")":
                self.need(",")
        return _call(name, *arguments)

    def peek(self) -> str:
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        return text if kind == "sign" else ""

    def take(self, sign: str) -> bool:
        found = self.peek() == sign
        self.at += found
        return found

    def need(self, sign: str) -> None:
        if not self.take(sign):
            raise invalid_argument(f"Image.parseExpression: '{sign}' is missing.")


def _unexpected(text: str) -> Exception:
    return invalid_argument(f"Image.parseExpression: Unexpected '{text}'.")


def _number(value: float) -> Evaluator:
    return lambda _: as_image(value)


def _bands(name: str, chosen: Sequence[str | int]) -> Evaluator:
    return lambda images: select(images[name], list(chosen))


def _call(function: str, *arguments: Evaluator) -> Evaluator:
    named = ARITHMETIC.get(f"Image.{function}")
    if named is None:
        raise invalid_argument(f"Image.parseExpression: Unknown function '{function}'.")

    def apply(images: Mapping[str, Image]) -> Image:
        try:
            return as_image(named(*(argument(images) for argument in arguments)))
        except TypeError:
            raise invalid_argument(
                f"Image.parseExpression: '{function}' does not take {len(arguments)} arguments."
            ) from None

    return apply


def parse(
    expression: str,
    argName: str = "DEFAULT_EXPRESSION_IMAGE",
    vars: list[str] | None = None,
    mapFreeVarsToDefaultImageBands: bool = False,
) -> Callable[..., Image]:
    """Return a function of images, called by their names, from the text of an expression."""
    tokens: list[tuple[str, str]] = []
    at, text = 0, expression.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise invalid_argument(f"Image.parseExpression: Unexpected '{text[at:].strip()[:20]}'.")
        tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    names = [argName, *(name for name in vars or [] if name != argName)]
    body = _ExpressionParser(tokens, argName, frozenset(names), mapFreeVarsToDefaultImageBands).whole()

    def call(*values: object, **named: object) -> Image:
        given = {**dict(zip(names, values, strict=False)), **named}
        return body({name: as_image(value) for name, value in given.items()})

    return call


LIBRARY: Final = {"Image.parseExpression": parse}
