"""`python -m stress --seconds N --seed N`: runs with one seed after the other. `make stress` runs it.

The exit status is 0 only if nothing went wrong with any of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from stress.run import play


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description="Programs on a phone, in every order.")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1000, help="the first one")
    parser.add_argument("--count", type=int, default=1 << 62, help="how many at most")
    parser.add_argument("--brief", action="store_true", help="only the first line of each failure")
    chosen = parser.parse_args()
    end, seed, wrong = time.monotonic() + chosen.seconds, chosen.seed, 0
    answers: Counter[str] = Counter()
    while time.monotonic() < end and seed < chosen.seed + chosen.count:
        try:
            answers += play(seed).answers
        except AssertionError as error:
            wrong += 1
            print(str(error).splitlines()[0] if chosen.brief else error, flush=True)  # noqa: T201
        seed += 1
    print(f"{seed - chosen.seed} seeds, {wrong} went wrong; answers: {dict(answers)}")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
