"""Band formulas such as `(B8 - B4) / (B8 + B4)`: parsed, typed, and built as a graph of arithmetic.

The grammar: names of bands, numbers, `+ - * / **`, the comparisons `< <= > >= == !=`, brackets, and the functions of `FUNCTIONS`.
Text is parsed by Python's own parser into a syntax tree of which only these nodes are accepted; nothing is evaluated.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from downloader.errors import JobError
from downloader.model.expression import call, number

MAX_CHARACTERS: Final = 2_000
"""Longer formulas are refused: Python's parser is recursive."""

MAX_NESTING: Final = 80
"""Operations within operations of one formula; the service limits the depth of the whole graph (`model.expression.MAX_DEPTH`)."""

FUNCTIONS: Final[Mapping[str, tuple[str, int]]] = {
    "abs": ("Image.abs", 1),
    "sqrt": ("Image.sqrt", 1),
    "exp": ("Image.exp", 1),
    "log": ("Image.log", 1),
    "log10": ("Image.log10", 1),
    "min": ("Image.min", 2),
    "max": ("Image.max", 2),
}
"""Name → (function of the service, least number of arguments)."""

_OPERATORS: Final[Mapping[type[ast.operator | ast.cmpop], str]] = {
    ast.Add: "Image.add",
    ast.Sub: "Image.subtract",
    ast.Mult: "Image.multiply",
    ast.Div: "Image.divide",
    ast.Pow: "Image.pow",
    ast.Lt: "Image.lt",
    ast.LtE: "Image.lte",
    ast.Gt: "Image.gt",
    ast.GtE: "Image.gte",
    ast.Eq: "Image.eq",
    ast.NotEq: "Image.neq",
}


@dataclass(frozen=True, slots=True)
class Interval:
    """Range of the values that a formula can take, as far as types tell."""

    low: float
    high: float
    is_integer: bool

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> Interval:
        """Return all values of a type."""
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            return cls(int(info.min), int(info.max), True)
        return cls(-math.inf, math.inf, False)

    def smallest_dtype(self) -> np.dtype[Any]:
        """Return the smallest type that holds integers of this interval exactly; float32 for everything else."""
        if self.is_integer:
            for name in ("u1", "i1", "u2", "i2", "u4", "i4"):
                info = np.iinfo(name)
                if info.min <= self.low and self.high <= info.max:
                    return np.dtype(name)
            if max(abs(self.low), abs(self.high)) <= 2**53:
                return np.dtype("f8")
        return np.dtype("f4")


@dataclass(frozen=True)
class Formula:
    """A parsed formula."""

    text: str
    bands: tuple[str, ...]
    """Names of the bands it uses, in the order of their first use."""
    tree: ast.expr = field(compare=False, repr=False)

    @classmethod
    def of_band(cls, name: str) -> Formula:
        """Return the formula that is a band's name, whatever characters the name has."""
        return cls(name, (name,), ast.Name(id=name, ctx=ast.Load()))

    @property
    def is_band(self) -> bool:
        """Whether the formula is a band's name and nothing else."""
        return isinstance(self.tree, ast.Name)

    def interval(self, bands: Mapping[str, Interval]) -> Interval:
        """Return the values that the formula takes for bands of these values."""
        return _interval(self.tree, bands)

    def graph(self, band: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the graph of the formula: an image of one band, masked where any band used is masked.

        A quotient is also masked where its denominator is 0; the service would answer 0 there.

        Args:
            band: gives the graph of a band by its name, as an image of one band. Bands are computed with as float64.
        """
        return _graph(self.tree, lambda name: call("Image.toDouble", value=dict(band(name))))


def parse_formula(text: str, key: str) -> Formula:
    """Parse a formula.

    Args:
        text: as the user wrote it.
        key: key of the job file, for the message.

    Raises:
        JobError: it is not a formula; the message says what is wrong of it.
    """

    def refuse(reason: str) -> JobError:
        shown = text if len(text) <= 200 else f"{text[:200]}…"
        return JobError(
            f"{shown!r} is not a formula: {reason}; write for instance (B8 - B4) / (B8 + B4)", key=key
        )

    if len(text) > MAX_CHARACTERS:
        raise refuse(f"it has more than {MAX_CHARACTERS:,} characters")
    names: dict[str, None] = {}
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        where = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise refuse(f"it cannot be read{where}") from None
    _check(tree, names, refuse)
    if not names:
        raise refuse("it names no band")
    return Formula(text.strip(), tuple(names), tree)


def _check(
    node: ast.expr, names: dict[str, None], refuse: Callable[[str], JobError], nesting: int = 0
) -> None:
    """Accept the nodes of the grammar and collect the names of bands."""
    if nesting > MAX_NESTING:
        raise refuse(f"it is nested deeper than {MAX_NESTING} operations; use brackets to pair its terms")
    parts: list[ast.expr] = []
    match node:
        case ast.Name(id=name):
            if name in FUNCTIONS:
                raise refuse(f"{name} is a function and needs arguments in brackets")
            names[name] = None
        case ast.Constant(value=value):
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise refuse(f"{value!r} is not a number")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            parts = [operand]
        case (
            ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right])
        ) if type(op) in _OPERATORS:
            parts = [left, right]
        case ast.Compare():
            raise refuse("only one comparison of two sides is allowed; multiply comparisons to combine them")
        case ast.Call(func=ast.Name()):
            parts = _arguments(node, refuse)
        case _:
            raise refuse(f"{ast.unparse(node)!r} is not allowed in it")
    for part in parts:
        _check(part, names, refuse, nesting + 1)


def _arguments(node: ast.Call, refuse: Callable[[str], JobError]) -> list[ast.expr]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in FUNCTIONS or node.keywords:
        raise refuse(f"{ast.unparse(node.func)} is not a function; known are {', '.join(FUNCTIONS)}")
    wanted = FUNCTIONS[name][1]
    if len(node.args) < wanted or (wanted == 1 and len(node.args) != 1):
        raise refuse(f"{name} takes {'one argument' if wanted == 1 else 'two or more arguments'}")
    return node.args


def _graph(node: ast.expr, band: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    match node:
        case ast.Name(id=name):
            return band(name)
        case ast.Constant(value=value):
            return number(value)  # type: ignore[arg-type]  # `_check` lets only numbers through
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return call("Image.multiply", image1=_graph(operand, band), image2=number(-1))
        case ast.UnaryOp(operand=operand):
            return _graph(operand, band)
        case ast.BinOp(left=left, op=op, right=right) | ast.Compare(left=left, ops=[op], comparators=[right]):
            one, other = _graph(left, band), _graph(right, band)
            result = call(_OPERATORS[type(op)], image1=one, image2=other)
            if isinstance(op, ast.Div):
                result = call(
                    "Image.updateMask", image=result, mask=call("Image.neq", image1=other, image2=number(0))
                )
            return result
        case ast.Call(func=ast.Name(id=name), args=arguments):
            function, count = FUNCTIONS[name]
            result, *others = [_graph(argument, band) for argument in arguments]
            if count == 1:
                return call(function, value=result)
            for other in others:
                result = call(function, image1=result, image2=other)
            return result
    raise AssertionError(ast.dump(node))  # `_check` lets nothing else through


def _interval(node: ast.expr, bands: Mapping[str, Interval]) -> Interval:
    anything = Interval(-math.inf, math.inf, False)
    match node:
        case ast.Name(id=name):
            return bands[name]
        case ast.Constant(value=int() | float() as value):
            return Interval(float(value), float(value), float(value).is_integer())
        case ast.UnaryOp(op=op, operand=operand):
            inner = _interval(operand, bands)
            return Interval(-inner.high, -inner.low, inner.is_integer) if isinstance(op, ast.USub) else inner
        case ast.Compare():
            return Interval(0, 1, True)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _interval(left, bands), _interval(right, bands)
            if not (a.is_integer and b.is_integer):
                return anything
            match op:
                case ast.Add():
                    return Interval(a.low + b.low, a.high + b.high, True)
                case ast.Sub():
                    return Interval(a.low - b.high, a.high - b.low, True)
                case ast.Mult():
                    corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
                    return Interval(min(corners), max(corners), True)
        case ast.Call(func=ast.Name(id=("abs" | "min" | "max") as name), args=arguments):
            parts = [_interval(argument, bands) for argument in arguments]
            whole = all(part.is_integer for part in parts)
            if name == "abs":
                [inner] = parts
                ends = sorted((abs(inner.low), abs(inner.high)))
                return Interval(0.0 if inner.low <= 0 <= inner.high else ends[0], ends[1], whole)
            pick = min if name == "min" else max
            return Interval(pick(p.low for p in parts), pick(p.high for p in parts), whole)
    return anything
