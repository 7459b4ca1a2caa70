"""The filter language of listings: the part of AIP-160 that Earth Engine documents (docs/contract.md §3.6).

expression = factor {AND factor}
factor     = term {OR term}              OR binds tighter than AND
term       = [NOT] (restriction | "(" expression ")")
restriction = field operator literal | intersects("geometry")
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from earthengine_emulator.api.errors import ApiError, invalid_argument
from earthengine_emulator.catalogue import geometry
from earthengine_emulator.catalogue.model import Image

Test = Callable[[Image], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w:.]))
      | (?P<word>[A-Za-z_][\w.]*(?::[\w.]+)*)
      | (?P<operator><=|>=|!=|=|<|>)
      | (?P<bracket>[()])
    )""",
    re.VERBOSE,
)
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIMES: Final[Mapping[str, Callable[[Image], str | None]]] = {
    "startTime": lambda image: image.start_time,
    "endTime": lambda image: image.end_time or image.start_time,
    "updateTime": lambda image: image.update_time,
}
_NAMES: Final[Mapping[str, Callable[[Image], str]]] = {
    "name": lambda image: image.name,
    "type": lambda image: image.type,
}

Token = tuple[str, str]
"""Kind and text."""


def parse_time(text: str) -> datetime:
    """Return an RFC 3339 time, with any offset and any number of fractional digits; a bare date is its midnight in UTC.

    Raises:
        ApiError: 400 when it is none.
    """
    trimmed = re.sub(r"(\.\d{6})\d+", r"\1", text.strip()).replace("Z", "+00:00").replace("z", "+00:00")
    try:
        when = datetime.fromisoformat(trimmed)
    except ValueError:
        raise invalid_argument(f"Invalid timestamp: '{text}'.") from None
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


def parse(text: str) -> Test:
    """Return the test that a filter makes of an image.

    Raises:
        ApiError: 400 for whatever is not of the language.
    """
    return _FilterParser(text).whole()


class _FilterParser:
    """One pass over one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0

    def _split(self) -> list[Token]:
        tokens, at = [], 0
        stripped = self._text.rstrip()
        while at < len(stripped):
            match = _TOKEN.match(stripped, at)
            if match is None or match.lastgroup is None:
                raise self._wrong(f"unexpected '{stripped[at:].lstrip()[:20]}'")
            tokens.append((match.lastgroup, match[match.lastgroup]))
            at = match.end()
        return tokens

    def _wrong(self, why: str) -> ApiError:
        return invalid_argument(f"Invalid filter: {why} in '{self._text}'.")

    def _peek(self) -> Token:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "the end")

    def _take(self) -> Token:
        token = self._peek()
        self._next += 1
        return token

    def _taken(self, text: str) -> bool:
        """Consume the next token if it is this one; return whether it was."""
        if self._peek()[0] in ("word", "bracket") and self._peek()[1] == text:
            self._next += 1
            return True
        return False

    def whole(self) -> Test:
        test = self._expression()
        if self._peek()[0] != "end":
            raise self._wrong(f"unexpected '{self._peek()[1]}'")
        return test

    def _expression(self) -> Test:
        tests = [self._factor()]
        while self._taken("AND"):
            tests.append(self._factor())
        return tests[0] if len(tests) == 1 else lambda image: all(test(image) for test in tests)

    def _factor(self) -> Test:
        tests = [self._term()]
        while self._taken("OR"):
            tests.append(self._term())
        return tests[0] if len(tests) == 1 else lambda image: any(test(image) for test in tests)

    def _term(self) -> Test:
        if self._taken("NOT"):
            inner = self._term()
            return lambda image: not inner(image)
        if self._taken("("):
            test = self._expression()
            if not self._taken(")"):
                raise self._wrong(f"')' expected before {self._peek()[1]}")
            return test
        kind, text = self._take()
        if kind != "word" or text in ("AND", "OR"):
            raise self._wrong(f"a field expected, not {text}")
        return self._intersects() if text == "intersects" else self._restriction(text)

    def _intersects(self) -> Test:
        kind, text = self._take() if self._taken("(") else self._peek()
        if kind != "string" or not self._taken(")"):
            raise self._wrong('intersects takes one quoted geometry: intersects("…")')
        shape = geometry.parse(_unquoted(text))
        return lambda image: geometry.intersects(shape, geometry.footprint(image))

    def _restriction(self, field: str) -> Test:
        kind, sign = self._take()
        if kind != "operator":
            raise self._wrong(f"an operator expected after {field}, not {sign}")
        kind, text = self._take()
        if kind not in ("string", "number", "word"):
            raise self._wrong(f"a value expected after {field} {sign}, not {text}")
        compare = _OPERATORS[sign]
        if field in _TIMES:
            when, of = parse_time(_unquoted(text)), _TIMES[field]
            return lambda image: (own := of(image)) is not None and compare(parse_time(own), when)
        if field in _NAMES:
            wanted, named = _unquoted(text), _NAMES[field]
            return lambda image: compare(named(image), wanted)
        return _property(field.removeprefix("properties."), compare, _literal(kind, text))


def _literal(kind: str, text: str) -> float | str:
    return float(text) if kind == "number" else _unquoted(text)


def _unquoted(text: str) -> str:
    """Return a string's content; other literals as they are."""
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _property(name: str, compare: Callable[[Any, Any], bool], literal: float | str) -> Test:
    """Compare a property; one that is missing or of the other type never matches."""

    def test(image: Image) -> bool:
        own = image.properties.get(name)
        alike = isinstance(own, str) if isinstance(literal, str) else isinstance(own, (int, float))
        return alike and compare(own, literal)

    return test
