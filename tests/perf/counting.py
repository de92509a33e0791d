"""Work, counted: steps and elements, never time.

A *step* is a line of mtpfs that is run. Lines are what Python 3.11 can count (`sys.settrace`); they are the same on
every machine, however much else it has to do. What runs inside the phone's cable is the phone's, all else is ours.

Lines don't show what C does in one of them: `sorted(d)`, `dict(d)`, `[*d]`. So the tables that grow with a directory
can be put into a `Table`, which counts the elements that are handed out one after the other.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import mtpfs

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

SOURCE = str(Path(mtpfs.__file__).parent)


@dataclass
class Work:
    """What was done, by side of the cable."""

    ours: int = 0
    phones: int = 0

    def __sub__(self, other: Work) -> Work:
        return Work(self.ours - other.ours, self.phones - other.phones)


class Cable:
    """Tells on which side of the cable the work is. Its `wrap` goes around all that leads into the phone."""

    def __init__(self, large_pieces: LargePieces | None = None) -> None:
        self.inside = False
        self.large_pieces = 0
        """Of `large_pieces`, those that the phone took."""
        self._counter = large_pieces

    def wrap(self, function: Callable[..., T]) -> Callable[..., T]:
        """Return a function that counts as the phone's."""

        def wrapped(*arguments: Any, **options: Any) -> T:
            if self.inside:
                return function(*arguments, **options)
            self.inside, before = True, self._count()
            try:
                return function(*arguments, **options)
            finally:
                self.inside = False
                self.large_pieces += self._count() - before

        return wrapped

    def _count(self) -> int:
        return self._counter.count if self._counter is not None else 0


class LargePieces:
    """Counts the pieces of memory of at least so many bytes that Python takes, from `start` on. See `allocations.c`."""

    def __init__(self, build: Path) -> None:
        """Compile the counter in the directory `build`."""
        library = build / "allocations.so"
        source = Path(__file__).with_name("allocations.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        self._library = ctypes.PyDLL(str(library))
        self._library.counted.restype = ctypes.c_long
        self._library.start.argtypes = [ctypes.c_size_t]

    @property
    def count(self) -> int:
        """How many there were."""
        return int(self._library.counted())

    @contextmanager
    def counted(self, least: int) -> Iterator[None]:
        """Count those of `least` bytes and more. Not to be nested."""
        self._library.start(least)
        try:
            yield
        finally:
            self._library.stop()


@contextmanager
def counted_steps(cable: Cable) -> Iterator[Work]:
    """Count the lines of mtpfs that are run on this thread."""
    steps = Work()

    def local(_frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            if cable.inside:
                steps.phones += 1
            else:
                steps.ours += 1
        return local

    def trace(frame: FrameType, _event: str, _argument: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(SOURCE) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield steps
    finally:
        sys.settrace(before)


class Table(dict[K, V]):
    """A dictionary that counts the elements that anything goes through. Asking for one of them is free."""

    walked: Work
    cable: Cable

    @classmethod
    def of(cls, content: dict[K, V], walked: Work, cable: Cable) -> Table[K, V]:
        """Return one with that content."""
        table = cls(content)
        table.walked, table.cable = walked, cable
        return table

    def _counted(self, elements: Iterable[T]) -> Iterator[T]:
        for element in elements:
            if self.cable.inside:
                self.walked.phones += 1
            else:
                self.walked.ours += 1
            yield element

    def __iter__(self) -> Iterator[K]:
        return self._counted(super().__iter__())

    def keys(self) -> Any:
        return self._counted(super().keys())

    def values(self) -> Any:
        return self._counted(super().values())

    def items(self) -> Any:
        return self._counted(super().items())

    def copy(self) -> dict[K, V]:
        return dict(self.items())
