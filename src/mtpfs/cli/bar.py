"""How far a transfer is, as one line on a terminal: name, this file, all files, rate, time left.

The line is drawn anew ten times a second at most. It goes away when something else is printed, and at the end. Where
the standard error is no terminal nothing is ever printed.

Invariant: what is drawn fits into one line of the terminal, however long or wide a name is.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable

from mtpfs.cli.command import printable
from mtpfs.redaction import redact

REDRAW = 0.1  # seconds between two drawings
WINDOW = 8.0  # seconds over which the rate is taken
PIECE = 4 << 20  # bytes that come at once, at most
CELLS = 16
"""Characters that the bar itself takes."""
_NAME = 28
_PARTS = " ▏▎▍▌▋▊▉"
_CLEAR = "\r\x1b[K"


class Bar:
    """A bar for some files of so many bytes together. `advance` may be called from any thread.

    What is counted instead of bytes has a `rate` of its own, and files of 1.
    """

    def __init__(
        self,
        files: int,
        total: int,
        *,
        width: int | None = None,
        rate: Callable[[float], str] | None = None,
    ) -> None:
        self._files = files
        self._total = total
        self._fixed_width = width
        self._rate_of = rate or rate_of
        self._is_on = width is not None or (sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb")
        self._lock = threading.Lock()
        self._finished = 0
        self._before = 0
        """Bytes of the files that are finished, or were skipped."""
        self._name = ""
        self._size = self._done = 0
        self._drawn_at = 0.0
        self._is_drawn = False
        self._moments = deque([(time.monotonic(), 0)])
        """When how many bytes had been moved, for the rate."""
        self._moved = 0

    def start(self, name: str, size: int) -> None:
        """Begin a file."""
        with self._lock:
            self._name, self._size, self._done = name, size, 0
            self._draw_if_due()

    def advance(self, done: int, _size: int) -> None:
        """Note that so many bytes of the file are there."""
        with self._lock:
            step = done - self._done
            self._moved += step if step <= PIECE else 0  # more at once was there before
            self._done = done
            self._draw_if_due()

    def end(self, *, moved: bool) -> None:
        """End a file; `moved` False: it was there already, or failed."""
        with self._lock:
            if moved and not self._done:
                self._moved += self._size
            self._before += self._size
            self._finished += 1
            self._size = self._done = 0

    def clear(self) -> None:
        """Take the line away: something else is to be printed, or all is done."""
        with self._lock:
            if self._is_drawn:
                sys.stderr.write(_CLEAR)
                sys.stderr.flush()
                self._is_drawn = False

    def _draw_if_due(self) -> None:
        now = time.monotonic()
        if not self._is_on or now - self._drawn_at < REDRAW:
            return
        self._drawn_at = now
        self._moments.append((now, self._moved))
        while len(self._moments) > 2 and now - self._moments[1][0] > WINDOW:
            self._moments.popleft()
        sys.stderr.write(f"{_CLEAR}{self.line(self._width())}")
        sys.stderr.flush()
        self._is_drawn = True

    def _width(self) -> int:
        try:
            told = self._fixed_width or os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:
            told = 0
        return told or 80  # a serial line tells 0

    def line(self, width: int) -> str:
        """Return the line for a terminal of so many columns."""
        share = (self._before + self._done) / self._total if self._total else 0.0
        rate = self._rate()
        left = (self._total - self._before - self._done) / rate if rate else None
        own = f"{100 * self._done // self._size:3}%" if self._size > 1 else "    "
        tail = (
            f" {own}  {self._finished + 1}/{self._files} "
            f"▕{cells(share)}▏{int(100 * share):3}%  {self._rate_of(rate)}  {time_of(left)}"
        )
        room = min(_NAME, width - 1 - len(tail))
        if room < 8:  # then it is the figures that matter
            return cut(tail.strip(), width - 1)
        name = cut(printable(redact(self._name)), room)
        return name + " " * (room - columns(name)) + tail

    def _rate(self) -> float:
        (since, moved), (now, latest) = self._moments[0], self._moments[-1]
        return (latest - moved) / (now - since) if now > since else 0.0


def cells(share: float) -> str:
    """Return a bar that is full to a share between 0 and 1."""
    eighths = int(max(0.0, min(1.0, share)) * CELLS * 8)
    full, part = divmod(eighths, 8)
    return ("█" * full + (_PARTS[part] if full < CELLS else "")).ljust(CELLS)


def rate_of(rate: float) -> str:
    """Return bytes a second for people, always equally long."""
    return f"{rate / 1e6:6.1f} MB/s"


def time_of(seconds: float | None) -> str:
    """Return a time for people: `1:05`, `2:03:04`."""
    if seconds is None or seconds > 359_999:
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def columns(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def cut(text: str, room: int) -> str:
    """Return a text that takes `room` columns at most, without its middle if it is too long."""
    if columns(text) <= room:
        return text
    head, tail = list[str](), list[str]()
    left = room - 1
    front, back = list(text), list(text)
    while left > 0:
        for source, target, index in ((front, head, 0), (back, tail, -1)):
            character = source.pop(index)
            left -= _columns_of(character)
            if left >= 0:
                target.append(character)
    return "".join(head) + "…" + "".join(reversed(tail))
