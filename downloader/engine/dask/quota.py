"""One quota for many workers, divided so that all together never exceed it."""

from __future__ import annotations

from dataclasses import dataclass, field

from downloader.engine.dask.messages import Grant


@dataclass(slots=True)
class _Member:
    granted: int = 0
    """What it was told last."""
    held: int = 0
    """What it may have under way: more than it is granted, until it says that it has heard of less."""
    overspent: float = 0.0


@dataclass(slots=True)
class Division:
    """One quota, divided evenly among the present workers; pure state, told what happens and when.

    A share grows only by what others have given back. A worker gives back when it says that it lets no more start and
    that no more than its new share is under way; one that is gone does when its last requests must have ended.
    """

    concurrency: int
    requests_per_second: float
    retries: int = 100
    """Retries beyond a share of all calls, for all together."""
    _members: dict[str, _Member] = field(default_factory=dict)
    _gone: list[tuple[float, int]] = field(default_factory=list)
    """(when, requests) that workers took with them which may still be under way until then."""

    def __len__(self) -> int:
        return len(self._members)

    def join(self, name: str) -> None:
        """Add a worker."""
        self._members[name] = _Member()

    def leave(self, name: str, free_at: float) -> None:
        """Remove a worker whose requests have ended by `free_at`, on the clock of `grant`."""
        member = self._members.pop(name)
        self._gone.append((free_at, member.held))
        self.retries = max(0, self.retries - round(member.overspent))

    def grant(self, name: str, now: float) -> Grant:
        """Return a worker's part from now on; nothing where others must give back first, or where there are too many workers."""
        member = self._members[name]
        self._gone = [(free_at, held) for free_at, held in self._gone if free_at > now]
        rank, count = list(self._members).index(name), len(self._members)
        target = self.concurrency // count + (rank < self.concurrency % count)
        others = sum(one.held for one in self._members.values()) - member.held
        free = self.concurrency - others - sum(held for _, held in self._gone)
        member.granted = max(0, min(target, free))
        member.held = max(member.held, member.granted)
        share = member.granted / self.concurrency
        return Grant(member.granted, self.requests_per_second * share, int(self.retries * share))

    def told(self, name: str, concurrency: int, in_flight: int, overspent: float) -> None:
        """Note the concurrency that a worker keeps to, and its requests under way."""
        member = self._members[name]
        member.overspent = overspent
        if concurrency <= member.granted:
            member.held = max(member.granted, in_flight)

    @property
    def held(self) -> int:
        """Requests that may be under way over all workers, those that are gone included."""
        return sum(one.held for one in self._members.values()) + sum(held for _, held in self._gone)
