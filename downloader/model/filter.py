"""Filters of listings: the part of AIP-160 that the service takes, checked before anything is asked.

    expression = factor {"AND" factor}
    factor     = term {"OR" term}                   OR binds tighter than AND (AIP-160; docs/contract.md §3.6)
    term       = ["NOT"] term | "(" expression ")" | comparison | intersects("GEOMETRY")
    comparison = NAME ("=" | "!=" | "<" | "<=" | ">" | ">=") (NUMBER | "TEXT") | NAME IN "(" VALUE {"," VALUE} ")"
               | VALUE IN NAME                       the property is a list that holds the value

A name is a property's (`CLOUDY_PIXEL_PERCENTAGE`, `system:index`, with or without `properties.` before it), or
`startTime` or `endTime`, which are compared with a time in quotes. An image without the property matches no comparison.

The service's language knows no lists: what a condition on one is joined with by OR or NOT is not sent, but found out of each
image's document here. What is sent has parentheses wherever AND and OR meet, so that it means the same under either order of binding.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from downloader.errors import JobError
from downloader.model.time import instant_us, timestamp
from downloader.text import cut

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.:]))
      | (?P<name>[^\W\d]\w*(?:[.:]\w+)*)
      | (?P<sign>[=<>!&|]+)
      | (?P<bracket>[(),])
      | (?P<other>[^\s(),<>=!&|"']+|.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_SIGNS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_TIMES: Final = ("startTime", "endTime")
_WORDS: Final = ("AND", "OR", "NOT")
_INTERSECTS: Final = "intersects"
_DEPTH: Final = 50
"""Parentheses and NOTs within each other."""

_VALUES: Final = ("text", "number", "name", "other")
"""Kinds of tokens that may be a value."""

_INSTEAD: Final = {
    "&": "AND", "&&": "AND", "|": "OR", "||": "OR", "!": "NOT", "==": "=", "<>": "!=", "and": "AND", "or": "OR", "not": "NOT",
}  # fmt: skip
"""Operators of other languages, and what to write instead."""


@dataclass(frozen=True, slots=True)
class _Condition:
    name: str
    """Bare: without `properties.`; empty of `intersects`."""
    sign: str
    """A comparison, `IN` for a list that holds the value, or `intersects`."""
    literal: str
    """As it is sent: a number, or a text in double quotes."""

    def text(self) -> str:
        if self.sign == _INTERSECTS:
            return f"{self.sign}({self.literal})"
        if self.sign == "IN":
            return f"{self.literal} IN {self.name}"
        return f"{'' if self.name in _TIMES else 'properties.'}{self.name} {self.sign} {self.literal}"

    def holds(self, document: Mapping[str, Any]) -> bool:
        if self.sign == _INTERSECTS:
            return True  # `Filter.parse` takes none that is not sent
        properties = document.get("properties")
        own = properties.get(self.name) if isinstance(properties, dict) else None
        wanted: Any = _content(self.literal) if self.literal.startswith('"') else float(self.literal)
        if self.sign == "IN":
            return isinstance(own, list) and any(_alike(one, wanted) and one == wanted for one in own)
        if self.name in _TIMES:  # an image without an end ends when it begins
            own = instant_us(str(document.get(self.name) or document.get("startTime") or ""))
            wanted = instant_us(wanted) or 0
        return own is not None and _alike(own, wanted) and _SIGNS[self.sign](own, wanted)


@dataclass(frozen=True, slots=True)
class _Junction:
    word: str
    """AND, OR, or NOT of a single part."""
    parts: tuple[_Node, ...]

    def text(self) -> str:
        parts = [_enclosed(part) for part in self.parts]
        return f"NOT {parts[0]}" if self.word == "NOT" else f" {self.word} ".join(parts)

    def holds(self, document: Mapping[str, Any]) -> bool:
        found = (part.holds(document) for part in self.parts)
        return all(found) if self.word == "AND" else any(found) != (self.word == "NOT")


_Node = _Condition | _Junction


def _leaves(node: _Node) -> Iterator[_Condition]:
    """Yield the conditions that AND, OR and NOT join."""
    if isinstance(node, _Condition):
        yield node
        return
    for part in node.parts:
        yield from _leaves(part)


def _lists(node: _Node) -> frozenset[str]:
    """Return the properties that must be lists."""
    return frozenset(one.name for one in _leaves(node) if one.sign == "IN")


def _alike(own: object, wanted: object) -> bool:
    """Return whether both are texts, or both numbers."""
    kinds = str if isinstance(wanted, str) else (int, float)
    return isinstance(own, kinds) and not isinstance(own, bool)


def _enclosed(node: _Node) -> str:
    return f"({node.text()})" if isinstance(node, _Junction) else node.text()


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter."""

    root: _Node

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Return the filter that a user wrote.

        Raises:
            JobError: it is none; the message says where, and what was expected there.
        """
        return _Parser(text).whole()

    @property
    def names(self) -> tuple[str, ...]:
        """Properties that it compares, without `properties.`, in the order of their first use."""
        found = dict.fromkeys(one.name for one in _leaves(self.root))
        return tuple(name for name in found if name not in ("", *_TIMES))

    @property
    def lists(self) -> frozenset[str]:
        """Properties that must be lists."""
        return _lists(self.root)

    def sent(self, *, alone: bool = True) -> str:
        """Return the filter for listAssets, with `properties.NAME`; empty if no condition is sent. If not `alone`, as one operand of an AND."""
        parts = [part for part in self._factors if not _lists(part)]
        if not parts:
            return ""
        root = parts[0] if len(parts) == 1 else _Junction("AND", tuple(parts))
        return root.text() if alone else _enclosed(root)

    def holds(self, document: Mapping[str, Any]) -> bool:
        """Return whether an image meets what is not sent.

        Args:
            document: the image's, of a listing.
        """
        return all(part.holds(document) for part in self.unsent)

    @property
    def unsent(self) -> tuple[_Node, ...]:
        """Conditions that are not sent but checked against each image's document, joined by AND."""
        return tuple(part for part in self._factors if _lists(part))

    @property
    def _factors(self) -> tuple[_Node, ...]:
        root = self.root
        return root.parts if isinstance(root, _Junction) and root.word == "AND" else (root,)


def quoted(text: str) -> str:
    """Return a text as a literal of the language."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """text, number, name, sign, bracket, other or end."""
    text: str
    at: int
    """Index of its first character."""


class _Parser:
    """Recursive-descent parser of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self._depth = 0

    def _split(self) -> list[_Token]:
        tokens = []
        for match in _TOKEN.finditer(self._text.rstrip()):
            kind = match.lastgroup or "other"
            tokens.append(_Token(kind, match[kind], match.start(kind)))
        return [*tokens, _Token("end", "", len(self._text.rstrip()))]

    def whole(self) -> Filter:
        if self._peek().kind == "end":
            raise JobError("the filter is empty; write a condition such as CLOUDY_PIXEL_PERCENTAGE < 10")
        root = self._expression()
        if self._peek().kind != "end":
            self._wrong("AND, OR or the end")
        made = Filter(root)
        if any(one.sign == _INTERSECTS for part in made.unsent for one in _leaves(part)):
            raise JobError(
                "the filter joins intersects by OR or NOT with a condition on a list; join them by AND"
            )
        return made

    def _wrong(self, expected: str, advice: str = "") -> NoReturn:
        token = self._peek()
        found = "it ends there" if token.kind == "end" else f"there is {cut(token.text, 40)}"
        word = _INSTEAD.get(token.text.lower())
        if word is not None and word != token.text:
            advice = f"write {word}"
        elif token.text in {'"', "'"}:
            advice = "which nothing closes"
        tail = f" ({advice})" if advice else ""
        raise JobError(
            f"character {token.at + 1} of the filter {self._text[:200]!r}: {expected} expected, {found}{tail}"
        )

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _taken(self, kind: str, text: str) -> bool:
        """Consume the next token if it is this one; return whether it was."""
        token = self._peek()
        if (token.kind, token.text) != (kind, text):
            return False
        self._next += 1
        return True

    def _expression(self) -> _Node:
        return self._junction("AND", self._factor)

    def _factor(self) -> _Node:
        return self._junction("OR", self._term)

    def _junction(self, word: str, part: Callable[[], _Node]) -> _Node:
        parts = [part()]
        while self._taken("name", word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else _Junction(word, tuple(parts))

    def _term(self) -> _Node:
        self._depth += 1
        if self._depth > _DEPTH:
            raise JobError(f"the filter has more than {_DEPTH} parentheses and NOTs within each other")
        try:
            if self._taken("name", "NOT"):
                return _Junction("NOT", (self._term(),))
            if self._taken("bracket", "("):
                inner = self._expression()
                if not self._taken("bracket", ")"):
                    self._wrong("AND, OR or )")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> _Node:
        first, second, third = (*self._tokens[self._next :], *self._tokens[-1:] * 2)[:3]
        is_of_list = first.kind in _VALUES and (second.kind, second.text, third.kind) == (
            "name",
            "IN",
            "name",
        )
        if is_of_list and not {first.text, third.text} & {*_WORDS} and first.text not in _TIMES:
            literal = self._value()
            self._next += 1
            return _Condition(_bare(self._take().text), "IN", literal)
        if first.kind != "name" or first.text in _WORDS:
            self._wrong("the name of a property")
        self._take()
        if first.text == _INTERSECTS and self._taken("bracket", "("):
            self._expect({"text"}, 'a geometry in quotes, such as "POINT(-122 37)",')
            literal = self._value()
            if not self._taken("bracket", ")"):
                self._wrong(")")
            return _Condition("", _INTERSECTS, literal)
        if first.text not in _TIMES and self._taken("name", "IN"):
            return self._one_of(_bare(first.text))
        if second.text not in _SIGNS or second.kind != "sign":
            self._wrong(f"one of {' '.join(_SIGNS)} after {cut(first.text, 40)}")
        self._take()
        if first.text in _TIMES:
            return _Condition(first.text, second.text, self._time(first.text))
        literal = self._literal(f"{cut(first.text, 40)} {second.text}")
        return _Condition(_bare(first.text), second.text, literal)

    def _one_of(self, name: str) -> _Node:
        """Return the comparisons that a list stands for; words in it need no quotes."""
        if not self._taken("bracket", "("):
            self._wrong(f"( and values, such as {name} IN (A, B), or a property that is a list,")
        found: list[_Node] = []
        while not found or self._taken("bracket", ","):
            self._expect(_VALUES, "a number or a text")
            found.append(_Condition(name, "=", self._value()))
        if not self._taken("bracket", ")"):
            self._wrong(", or )")
        return found[0] if len(found) == 1 else _Junction("OR", tuple(found))

    def _expect(self, kinds: Collection[str], what: str) -> None:
        """Raise JobError if the next token is of none of these kinds."""
        if self._peek().kind not in kinds:
            self._wrong(what)

    def _value(self) -> str:
        """Return the next token, a number, or a text with or without quotes, as a literal."""
        token = self._take()
        if token.kind == "number":
            return token.text.removeprefix("+")
        return quoted(_content(token.text) if token.kind == "text" else token.text)

    def _time(self, name: str) -> str:
        token = self._peek()
        try:
            time_us = instant_us(_content(token.text)) if token.kind == "text" else None
        except JobError:
            time_us = None
        if time_us is None:
            self._wrong(f'a time in quotes after {name}, such as "2017-04-01T00:00:00Z",')
        self._take()
        return quoted(timestamp(time_us))

    def _literal(self, where: str) -> str:
        token = self._peek()
        if token.kind not in {"number", "text"}:
            is_unquoted = token.kind in _VALUES and token.text not in _WORDS and token.text[0] not in "\"'"
            self._wrong(
                f"a number, or a text in double quotes, after {where}",
                f"write {quoted(cut(token.text, 40))}" if is_unquoted else "",
            )
        return self._value()


def _bare(name: str) -> str:
    return name.removeprefix("properties.")


def _content(literal: str) -> str:
    """Return the text between the quotes."""
    return re.sub(r"\\(.)", r"\1", literal[1:-1], flags=re.DOTALL)
