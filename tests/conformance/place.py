"""A directory under test, and what the device behind it can't do."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mtpfs.protocol.codes import Operation
from mtpfs.virtual.capabilities import Capabilities
from mtpfs.virtual.changes import stored_name

_NUMBERS = itertools.count()
_PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Place:
    """A directory on the filesystem under test; `backing` is the same on the phone's own disk, if that can be seen."""

    path: Path
    backing: Path | None = None
    writes: bool = True
    """Whether anything can be created or changed; where it can't, EROFS has to say so."""
    deletes: bool = True
    renames: bool = True
    """Whether files can be renamed; where they can't, EXDEV has to say so."""
    moves: bool = True
    """Whether they can be moved to another directory."""
    extension: str = ""
    """What the name of a file has to end in, where the device takes certain formats only; EINVAL otherwise."""
    keeps_date_in_edits: bool = False
    """Whether the device gives a file that was edited its old date again."""
    pretends_to_delete: bool = False
    """Whether the device says that it deletes what is protected, and doesn't."""

    stores_as: Callable[[str], str] = str
    """What the device makes of a file's name; where that is another one, EINVAL has to say so."""

    @classmethod
    def on_phone(cls, path: Path, backing: Path, kind: Capabilities) -> Place:
        """Return a place on a mounted virtual phone."""
        return cls(
            path,
            backing,
            writes=not kind.read_only,
            deletes=not kind.read_only or kind.deletes_though_read_only,
            renames=Operation.SetObjectPropValue in kind.operations,
            moves=Operation.MoveObject in kind.operations,
            extension=".mp3" if kind.formats else "",
            keeps_date_in_edits=kind.keeps_date_in_edits,
            pretends_to_delete=kind.pretends_to_delete,
            stores_as=partial(stored_name, kind),
        )


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


@contextmanager
def put(base: Place, tree: Mapping[str, bytes | None]) -> Iterator[Path]:
    """Put files and directories (None) into a new directory of the phone, behind the mount's back if that can be.

    The directory is moved to its place, so that nothing is seen half, and waited for. Yields its path on the mount.
    """
    name = f"tree-{os.getpid()}-{next(_NUMBERS)}"
    behind = base.path if base.backing is None else base.backing
    os.listdir(base.path)  # some devices tell only of directories that were listed
    with tempfile.TemporaryDirectory(dir=behind.parent) as scratch:
        made = Path(scratch, name)
        made.mkdir()
        for path, data in tree.items():
            if data is None:
                (made / path).mkdir()
            else:
                (made / path).write_bytes(data)
        made.rename(behind / name)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not (base.path / name).is_dir():
            assert time.monotonic() < deadline, f"{name} isn't seen"
            time.sleep(0.02)
        yield base.path / name
    finally:
        shutil.rmtree(behind / name, ignore_errors=True)  # a test of deleting may have done it
