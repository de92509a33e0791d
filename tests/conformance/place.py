"""A directory under test, and what the device behind it can't do."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Place:
    """A directory on the filesystem under test; `backing` is the same on the phone's own disk, if that can be seen."""

    path: Path
    backing: Path | None = None
    renames: bool = True
    """Whether files can be renamed; where they can't, EXDEV has to say so."""
    moves: bool = True
    """Whether they can be moved to another directory."""


@contextmanager
def fresh_directory(base: Place) -> Iterator[Place]:
    """Make an empty directory in `base`, and remove it with everything in it."""
    name = f"conformance-{os.getpid()}-{next(_NUMBERS)}"
    path = base.path / name
    path.mkdir()
    try:
        yield replace(base, path=path, backing=base.backing and base.backing / name)
    finally:
        shutil.rmtree(path)
