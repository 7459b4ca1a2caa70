"""Progress of a run in a notebook: one output that is redrawn in place, and keeps its last state when the notebook is saved."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

from downloader.cards import bar, facts, note, wrapped
from downloader.events import Ended, Event, Notice, Phase, Started
from downloader.progress.tally import Tally, Timer, announcement

_EVERY_S: Final = 0.5

_LINES: Final = 5
"""Notices that stay in sight: the last ones."""


def is_notebook() -> bool:
    """Return whether this is the kernel of a notebook: Jupyter, VS Code, Colab, or one that nbconvert executes."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class NotebookBar:
    """A `Progress` that shows a bar below the cell."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._timer = Timer(_EVERY_S)
        self._started = ""
        self._phase = Phase("")
        self._last = ""
        self._ended: Ended | None = None
        self._handle: Any = None

    def __call__(self, event: Event) -> None:
        """Draw what the event changes, at most twice a second."""
        self._tally(event)
        match event:
            case Started():
                self._started = announcement(event.estimate, event.tiles_done)
            case Ended():
                self._ended, self._phase = event, Phase("")
            case Phase():
                is_news = event.text != self._phase.text
                self._phase, self._last = event, event.text or self._last
                if not is_news and not self._timer.is_due():
                    return
            case Notice():
                pass
            case _ if not self._timer.is_due():
                return
        self._draw()

    def _draw(self) -> None:
        shown: Any = import_module("IPython.display")

        if self._handle is None:
            # Nothing is shown of a call that has nothing to tell yet.
            if self._started or self._phase.text:
                self._handle = shown.display(self, display_id=True)
        else:
            self._handle.update(self)

    def __repr__(self) -> str:
        return "\n".join([*self._lines(), *self._tally.notices[-_LINES:]])

    def _repr_html_(self) -> str:
        ended = self._ended
        kind = "" if ended is None else "over" if ended.state == "complete" else "stopped"
        share = bar(self._tally.share, kind) if self._started else ""
        notices = facts([("", text) for text in self._tally.notices[-_LINES:]])
        return wrapped(share, *map(note, self._lines()), notices)

    def _lines(self) -> list[str]:
        phase, lines = self._phase, []
        if self._started:
            state = "" if self._ended is None else f"{self._ended.state}: "
            figures = self._tally.figures().words(is_over=self._ended is not None)
            lines = [self._started, state + ", ".join(figures)]
        if phase.text:
            lines.append(phase.text + (f": {phase.done:,} of {phase.total:,}" if phase.total else " …"))
        elif not lines:
            lines = [f"{self._last}: done"]
        return lines
