"""`python -m soak --seconds N --seed N`: a soak, and its counts. `make soak` runs it.

The exit status is 0 only if nothing was lost, nothing hung and nothing leaked.
"""

from __future__ import annotations

import argparse
import sys

from soak.course import soak, tell


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description="Mixed load on real mounts while everything goes wrong.")
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--usb", action="store_true", help="on a real bus (root, dummy_hcd)")
    chosen = parser.parse_args()
    result = soak(chosen.seconds, chosen.seed, usb=chosen.usb)
    tell(result, chosen.seconds, chosen.seed)
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
