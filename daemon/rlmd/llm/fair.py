"""Whose call goes next; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

IN_A_ROW = 7
"""So many interactive calls go while others wait; then one of those goes, so that they move at all."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A call's place: whose it is, for which model, and about how many tokens it takes."""

    job: str
    model: str
    tokens: int
    interactive: bool


class FairQueue:
    """Waiting tickets: interactive ones first, and among them whose job has the fewest calls under way.

    Among equals the job goes that was served longest ago; one job's calls to one model keep their order.
    """

    def __init__(self) -> None:
        self._lines: dict[tuple[bool, str, str], dict[Ticket, None]] = {}
        self._under_way: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        self._takes = 0
        self._in_a_row = 0

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __iter__(self) -> Iterator[Ticket]:
        return (ticket for line in self._lines.values() for ticket in line)

    def add(self, ticket: Ticket) -> None:
        """Let *ticket* wait behind those of its job and model."""
        self._lines.setdefault(_line_of(ticket), {})[ticket] = None

    def remove(self, ticket: Ticket) -> None:
        """Let *ticket* leave; it must be waiting."""
        line = self._lines[_line_of(ticket)]
        del line[ticket]
        if not line:
            del self._lines[_line_of(ticket)]

    def hurry(self, ticket: Ticket) -> None:
        """Make *ticket* interactive, whether it waits or not."""
        if ticket.interactive:
            return
        waits = ticket in self._lines.get(_line_of(ticket), {})
        if waits:
            self.remove(ticket)
        ticket.interactive = True
        if waits:
            self.add(ticket)

    def take(self, fits: Callable[[Ticket], bool]) -> Ticket | None:
        """Take out the next ticket that *fits*, and count its job's call as under way until `ended`."""
        heads = [next(iter(line)) for line in self._lines.values()]
        fitting = [ticket for ticket in heads if fits(ticket)]
        if not fitting:
            return None
        others_wait = any(not ticket.interactive for ticket in fitting)
        first = not (others_wait and self._in_a_row >= IN_A_ROW)
        ticket = min(fitting, key=lambda each: (each.interactive is not first, *self._share(each.job)))
        self._in_a_row = self._in_a_row + 1 if ticket.interactive and others_wait else 0
        self.remove(ticket)
        self._takes += 1
        self._served[ticket.job] = self._takes
        self._under_way[ticket.job] += 1
        return ticket

    def ended(self, job: str) -> None:
        """Note that a call of *job* that was taken is over."""
        self._under_way[job] -= 1
        if not self._under_way[job]:
            del self._under_way[job]
            if not any(line_job == job for _, line_job, _ in self._lines):
                self._served.pop(job, None)

    def _share(self, job: str) -> tuple[int, int]:
        return self._under_way[job], self._served.get(job, 0)


def _line_of(ticket: Ticket) -> tuple[bool, str, str]:
    return ticket.interactive, ticket.job, ticket.model
