"""Random operations on files, checked against byte strings in memory. After the idea of Apple's fsx.

Strategy: a few files, each with up to two descriptors; every step is drawn from
one seeded generator, so a failure can be repeated. Everything that is read is
compared at once; the log of the last steps says how it came to that. Data that
the kernel has in its page cache are dropped now and then, or they would hide
what the filesystem below has made of them.

Invariant: the same seed makes the same steps on every filesystem, but for the
copying that stands in for renaming where a device can't.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
from collections import Counter, deque
from pathlib import Path

NAMES = ("a.mp3", "b.mp3", "c.wav", "ä.jpg")  # what players take, and not all of one kind
LARGEST = 200_000  # bytes of a file
PIECE = 40_000  # bytes of a write or read
REMEMBERED = 30  # steps that a failure shows


class MismatchError(AssertionError):
    """The filesystem shows something else than was written."""


class Fsx:
    """One run of random operations in an empty directory."""

    def __init__(self, root: Path, seed: int) -> None:
        self.steps: Counter[str] = Counter()
        self.compared = 0
        """Bytes that were read and found right."""
        self._root = root
        self._random = random.Random(seed)
        self._contents: dict[str, bytearray] = {}
        self._open: dict[str, list[int]] = {}
        self._log: deque[str] = deque(maxlen=REMEMBERED)

    def run(self, steps: int) -> None:
        """Do `steps` steps, then close everything and compare all of it. Raises `MismatchError`."""
        kinds, weights = zip(*_WEIGHTS.items(), strict=True)
        try:
            for kind in self._random.choices(kinds, weights, k=steps):
                self.steps[kind] += 1
                getattr(self, f"_{kind}")(self._random.choice(NAMES))
            for name in NAMES:
                self._close(name)
                self._evict(name)
                self._whole(name)
            self._listing(NAMES[0])
        except (MismatchError, OSError) as error:
            error.add_note("last steps:\n" + "\n".join(self._log))
            raise
        finally:
            for name in NAMES:
                for descriptor in self._open.pop(name, []):
                    os.close(descriptor)

    # --- contents

    def _write(self, name: str) -> None:
        descriptor = self._descriptor(name)
        data = self._random.randbytes(self._random.randint(1, PIECE))
        offset = self._random.randint(0, LARGEST - len(data))
        if self._random.random() < 0.5:  # most programs write on where they are
            offset = min(len(self._contents[name]), LARGEST - len(data))
        self._note("write", name, offset, len(data))
        self._check(os.pwrite(descriptor, data, offset) == len(data), name, "short write")
        contents = self._contents[name]
        if offset > len(contents):
            contents.extend(bytes(offset - len(contents)))
        contents[offset : offset + len(data)] = data

    def _append(self, name: str) -> None:
        self._create(name)
        data = self._random.randbytes(self._random.randint(1, 5000))
        self._note("append", name, len(data))
        descriptor = os.open(self._root / name, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        self._contents[name] += data

    def _read(self, name: str) -> None:
        descriptor = self._descriptor(name)
        offset, count = self._random.randint(0, LARGEST), self._random.randint(1, PIECE)
        if self._random.random() < 0.5:
            offset = self._random.randint(0, len(self._contents[name]))
        self._note("read", name, offset, count)
        self._compare(name, offset, os.pread(descriptor, count, offset), count)

    def _map(self, name: str) -> None:
        descriptor, contents = self._descriptor(name), self._contents[name]
        if not contents:
            return
        offset = self._random.randrange(len(contents))
        count = self._random.randint(1, PIECE)
        self._note("map", name, offset, count)
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped:
            self._check(len(mapped) == len(contents), name, f"{len(mapped)} bytes are mapped")
            self._compare(name, offset, mapped[offset : offset + count], count)

    def _ftruncate(self, name: str) -> None:
        descriptor = self._descriptor(name)
        size = self._size(name)
        self._note("ftruncate", name, size)
        os.ftruncate(descriptor, size)
        self._resize(name, size)

    def _truncate(self, name: str) -> None:
        self._create(name)
        size = self._size(name)
        self._note("truncate", name, size)
        os.truncate(self._root / name, size)
        self._resize(name, size)

    def _empty(self, name: str) -> None:
        self._create(name)
        self._note("open with O_TRUNC", name)
        os.close(os.open(self._root / name, os.O_WRONLY | os.O_TRUNC))
        self._contents[name].clear()

    def _sync(self, name: str) -> None:
        descriptor = self._descriptor(name)
        self._note("fsync", name)
        os.fsync(descriptor)

    def _stat(self, name: str) -> None:
        if name in self._contents:
            size = (self._root / name).stat().st_size
            self._check(size == len(self._contents[name]), name, f"stat says {size} bytes")
        else:
            self._check(not (self._root / name).exists(), name, "exists")

    def _whole(self, name: str) -> None:
        if name in self._contents:
            self._note("read whole", name)
            self._compare(name, 0, (self._root / name).read_bytes(), LARGEST + PIECE)

    def _evict(self, name: str) -> None:
        if name in self._contents:
            self._note("evict", name)
            descriptor = os.open(self._root / name, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    # --- names

    def _close(self, name: str) -> None:
        descriptors = self._open.get(name)
        if descriptors:
            self._note("close", name)
            os.close(descriptors.pop())

    def _reopen(self, name: str) -> None:
        descriptors = self._open.setdefault(name, [])
        if len(descriptors) < 2:
            self._create(name)
            self._note("open once more", name)
            descriptors.append(os.open(self._root / name, os.O_RDWR))

    def _rename(self, name: str) -> None:
        target = self._random.choice(NAMES)
        if name not in self._contents or name == target:
            return
        self._note("rename", name, target)
        for descriptor in self._open.pop(target, []):
            os.close(descriptor)
        try:
            (self._root / name).rename(self._root / target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            for descriptor in self._open.pop(name, []):
                os.close(descriptor)
            shutil.copyfile(self._root / name, self._root / target)
            (self._root / name).unlink()
        self._contents[target] = self._contents.pop(name)
        self._open[target] = self._open.pop(name, [])

    def _unlink(self, name: str) -> None:
        if name in self._contents:
            self._note("unlink", name)
            (self._root / name).unlink()
            del self._contents[name]
            for descriptor in self._open.pop(name, []):
                os.close(descriptor)

    def _listing(self, name: str) -> None:
        names = sorted(os.listdir(self._root))
        self._check(names == sorted(self._contents), name, f"the directory shows {names}")

    # --- what they share

    def _create(self, name: str) -> None:
        if name not in self._contents:
            self._note("create", name)
            os.close(os.open(self._root / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            self._contents[name] = bytearray()

    def _descriptor(self, name: str) -> int:
        descriptors = self._open.setdefault(name, [])
        if not descriptors:
            self._create(name)
            self._note("open", name)
            descriptors.append(os.open(self._root / name, os.O_RDWR))
        return self._random.choice(descriptors)

    def _size(self, name: str) -> int:
        return self._random.choice((0, len(self._contents[name]), self._random.randint(0, LARGEST)))

    def _resize(self, name: str, size: int) -> None:
        contents = self._contents[name]
        del contents[size:]
        contents.extend(bytes(size - len(contents)))

    def _compare(self, name: str, offset: int, found: bytes, count: int) -> None:
        expected = self._contents[name][offset : offset + count]
        if found != expected:
            at = next(
                (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), len(found)
            )
            raise MismatchError(
                f"{name}: at {offset}, {len(found)} of {len(expected)} bytes; first difference at {offset + at}"
            )
        self.compared += len(found)

    def _check(self, right: bool, name: str, message: str) -> None:
        if not right:
            raise MismatchError(f"{name} ({len(self._contents.get(name, b''))} bytes): {message}")

    def _note(self, what: str, name: str, *numbers: object) -> None:
        self._log.append(" ".join(map(str, (what, name, *numbers))))


_WEIGHTS = {
    "write": 20,
    "append": 5,
    "read": 20,
    "map": 5,
    "ftruncate": 5,
    "truncate": 4,
    "empty": 2,
    "sync": 4,
    "stat": 8,
    "whole": 3,
    "evict": 6,
    "close": 12,
    "reopen": 6,
    "rename": 5,
    "unlink": 2,
    "listing": 3,
}
