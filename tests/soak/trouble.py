"""What goes wrong during a soak: faults, locks, unplugging, from a seeded generator.

Strategy: long enough between two troubles that work gets done, and short enough that
most of the work meets some. A fault that has not struck after a while is taken back, so
that what is counted did happen. Faults that lose data by themselves (VANISH) or tell lies
that nobody can see through (LYING_SIZE) are left out.

Invariant: when it ends, the phone is plugged in, unlocked, and well.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

from soak.rig import Hand

TABLE: tuple[tuple[str, str, int], ...] = (
    # kind, operations, and the greatest amount
    ("busy", "SendObjectInfo GetObjectHandles GetPartialObject64 GetObjectInfo DeleteObject", 0),
    ("refuse", "SendObjectInfo SendObject GetObjectHandles GetPartialObject64 BeginEditObject MoveObject", 0),
    ("refuse-twice", "SendObjectInfo SendObject", 0),
    ("fail", "SendObject SendObjectInfo DeleteObject SetObjectPropValue EndEditObject MoveObject", 0),
    ("stall", "SendObject SendObjectInfo GetPartialObject64 GetObjectHandles SetObjectPropValue", 0),
    ("stall-mid-data", "SendObject SendPartialObject GetPartialObject64 GetObjectPropList", 300_000),
    ("silence", "SendObject SendObjectInfo GetPartialObject64 GetObjectHandles DeleteObject", 0),
    (
        "silent-success",
        "SendObject SendObjectInfo DeleteObject SetObjectPropValue MoveObject EndEditObject",
        0,
    ),
    ("silence-mid-data", "SendObject SendPartialObject GetPartialObject64", 300_000),
    ("truncated-data", "GetPartialObject64 GetObjectHandles GetObjectPropList GetObjectInfo", 3000),
    ("overlong-data", "GetPartialObject64 GetObjectHandles", 700),
    ("wrong-transaction", "GetPartialObject64 SendObject SendObjectInfo GetObjectInfo", 9),
    ("wrong-data-header", "GetPartialObject64 GetObjectPropList", 0),
    ("stale-response", "GetPartialObject64 SendObject DeleteObject", 0),
    ("split-header", "GetPartialObject64 GetObjectPropList", 0),
    ("glued", "GetPartialObject64 GetObjectHandles", 0),
    ("missing-zlp", "GetPartialObject64 GetObjectPropList", 0),
    ("extra-zlp", "GetPartialObject64 SendObject", 0),
    ("pad-byte", "GetPartialObject64 GetObjectPropList", 0),
    ("zero-junk", "GetPartialObject64 SendObject", 16),
    ("garbage-header", "GetPartialObject64 GetObjectHandles SendObject", 0),
    ("lying-length", "GetPartialObject64 GetObjectHandles", 5000),
    ("unknown-length", "GetPartialObject64 GetObjectPropList", 0),
    ("lying-count", "GetObjectHandles GetObjectPropList", 50),
    ("late", "GetPartialObject64 SendObject GetObjectHandles", 15_000),
    ("full", "SendObject SendPartialObject", 200_000),
    ("phantom", "GetObjectHandles", 0),
    ("gone", "SendObject GetPartialObject64 GetObjectHandles SetObjectPropValue DeleteObject", 0),
    ("gone-mid-data", "SendObject SendPartialObject GetPartialObject64", 300_000),
)
CODES = ("GeneralError", "AccessDenied", "StoreFull", "InvalidObjectHandle", "DeviceBusy")
PATIENCE = 1.5  # seconds for a fault to strike


class Trouble:
    """Makes trouble until it is ended."""

    def __init__(self, hand: Hand, seed: int) -> None:
        self._hand = hand
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self.counts: Counter[str] = Counter()
        """By kind: locks, replugs and renumberings; the phone itself counts its faults (`tally`)."""
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._ended.wait(self._random.expovariate(2.0)):
                self._once()
            self._calm()
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure = error

    def end(self) -> None:
        self._ended.set()

    def _once(self) -> None:
        choice = self._random.random()
        if choice < 0.08:
            self._between("lock", "unlock", 1.5)
        elif choice < 0.18:
            self._between("unplug", "plug", 3.0)
        elif choice < 0.21:
            self._say("renumber")
        elif choice < 0.24:
            self._between("silence times=0", "forget", 2.0)
        else:
            self._fault()

    def _fault(self) -> None:
        kind, operations, amount = self._random.choice(TABLE)
        words = [kind, self._random.choice(operations.split()), f"skip={self._random.randrange(4)}"]
        if amount:
            words.append(f"amount={self._random.randint(1, amount)}")
        if kind in {"refuse", "refuse-twice", "fail"}:
            words.append(f"code={self._random.choice(CODES)}")
        if kind == "busy":
            words.append(f"times={self._random.randint(1, 6)}")
        before = self._hand.say("tally")
        self._hand.say(" ".join(words))
        deadline = time.monotonic() + PATIENCE
        while self._hand.say("tally") == before and time.monotonic() < deadline:
            if self._ended.wait(0.05):
                break
        if kind == "busy":
            self._ended.wait(0.5)
        self._hand.say("forget")
        if kind.startswith("gone") and self._hand.say("tally") != before:
            self._ended.wait(self._random.uniform(0, 2))
            self._hand.say("plug")

    def _between(self, begin: str, end: str, longest: float) -> None:
        self._say(begin)
        self._ended.wait(self._random.uniform(0.05, longest))
        self._hand.say(end)

    def _say(self, words: str) -> None:
        self._hand.say(words)
        self.counts[words.partition(" ")[0]] += 1

    def _calm(self) -> None:
        for words in ("forget", "unlock"):
            self._hand.say(words)
