"""`python -m stress --seconds N --seed N`: runs with one seed after the other. `make stress` runs it.

Each fiftieth run makes rounds of one name (`stress.rounds`) on the next kind of phone. `--rounds N` makes only these,
N of them on each kind.

The exit status is 0 only if nothing went wrong with any of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

from stress.rounds import PHONES, Rounds
from stress.run import Run, play

EVERY = 50  # runs, of which one makes rounds
FEW = 20  # rounds of that one


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description="Programs on a phone, in every order.")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1000, help="the first one")
    parser.add_argument("--count", type=int, default=1 << 62, help="how many at most")
    parser.add_argument("--rounds", type=int, help="make only rounds of one name, that many on each kind")
    parser.add_argument("--brief", action="store_true", help="only the first line of each failure")
    chosen = parser.parse_args()
    end, seed, wrong = time.monotonic() + chosen.seconds, chosen.seed, 0
    answers: Counter[str] = Counter()
    if chosen.rounds:
        chosen.count = min(chosen.count, len(PHONES))
    while time.monotonic() < end and seed < chosen.seed + chosen.count:
        try:
            answers += play(seed, partial(_course, only_rounds=chosen.rounds)).answers
        except AssertionError as error:
            wrong += 1
            print(str(error).splitlines()[0] if chosen.brief else error, flush=True)  # noqa: T201
        seed += 1
    print(f"{seed - chosen.seed} seeds, {wrong} went wrong; answers: {dict(answers)}")  # noqa: T201
    return 1 if wrong else 0


def _course(seed: int, phone: Path, only_rounds: int | None) -> Run:
    if only_rounds:
        return Rounds(seed, phone, PHONES[seed % len(PHONES)], only_rounds)
    if seed % EVERY == 0:
        return Rounds(seed, phone, PHONES[seed // EVERY % len(PHONES)], FEW)
    return Run(seed, phone)


if __name__ == "__main__":
    sys.exit(main())
