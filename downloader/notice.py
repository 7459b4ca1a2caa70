"""A line worth knowing, which also says what kind of thing happened: people read it, programs count by its event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

__all__ = ["Level", "Notice"]

Level = Literal["debug", "info", "warning", "error"]


class Notice(str):
    """The text itself; with the name of its event, how grave it is, and its figures.

    Wherever a text is taken a notice is as good: displays print it, reports keep it.
    """

    __slots__ = ("event", "fields", "level")

    event: str
    """A short stable name, such as `quota` or `split`."""
    level: Level
    fields: Mapping[str, Any]
    """Figures and names as plain values; never a secret."""

    def __new__(cls, text: str, event: str = "notice", level: Level = "info", **fields: Any) -> Self:
        """A notice of `text`; `fields` are plain values."""
        self = super().__new__(cls, text)
        self.event, self.level, self.fields = event, level, fields
        return self

    @classmethod
    def of(cls, text: str) -> Notice:
        """`text` as a notice; one that is one already stays it."""
        return text if isinstance(text, Notice) else cls(text)
