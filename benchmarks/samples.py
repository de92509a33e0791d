"""What was measured of one thing, once in each round: a median that says how sure it is.

A machine that does something else meanwhile is slower in one round than in the next. So rounds of all programs
alternate, a median stands for them, and what differs by more than `SURE` from round to round proves nothing.

Invariant: a claim is made only of what is sure.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

SURE = 0.15  # of the median, that the rounds may differ by


@dataclass(slots=True)
class Samples:
    """Values of one unit, one for each round."""

    values: list[float] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.values)

    def add(self, value: float) -> None:
        self.values.append(value)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """How far the middle half of the rounds lies apart, as a share of the median; of few rounds, all of them."""
        ordered = sorted(self.values)
        cut = len(ordered) // 4
        return (ordered[len(ordered) - 1 - cut] - ordered[cut]) / self.median if self.median else 0.0

    def judged(self, *, met: bool) -> bool | None:
        """Return `met`; None where the rounds differ too much to say so."""
        return met if self.spread <= SURE else None

    def told(self, digits: int = 2) -> str:
        """Return the median, and between which values it is."""
        if len(self.values) == 1:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} ({min(self.values):.{digits}f} to {max(self.values):.{digits}f})"
