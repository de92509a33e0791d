"""One program at work on the mount: it writes, reads, renames, deletes and lists, and never believes anything.

Strategy: a worker has a directory of its own, so it alone knows what may be in it. After
every acknowledgement it looks at the phone's own disk; after every failed rename or
delete, too, because that is the only way to know what has happened. Errors are counted
and are no failure. A byte that isn't where it has to be is one, and ends the worker.

Invariant: `doing` names the call that is under way and since when, so that somebody else
can see it hang.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mtpfs.vfs.temporaries import parse
from soak.model import Blend, File, Violation, told

FILES, FOLDERS = 12, 3
SMALL, LARGE = 40_000, 6_000_000  # bytes
REACH = 30.0  # seconds in which a file that has to be there must come into sight again
ODDS = (
    ("replace", 30),
    ("append", 7),
    ("overwrite", 7),
    ("cut", 3),
    ("verify", 22),
    ("verify_part", 8),
    ("rename", 9),
    ("unlink", 6),
    ("folder", 5),
    ("list", 8),
    ("date", 2),
)


@dataclass
class Tally:
    """What was done so far, by all workers together."""

    operations: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    written: int = 0
    read: int = 0
    verified: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *, written: int = 0, read: int = 0, verified: int = 0) -> None:
        with self.lock:
            self.written += written
            self.read += read
            self.verified += verified


class Worker:
    """Works in directory `name` of the mount until it is ended."""

    def __init__(self, root: Path, phone: Path, name: str, seed: int, tally: Tally) -> None:
        self.name = name
        self.failure: BaseException | None = None
        self.doing: tuple[str, float] | None = None
        self._history: deque[str] = deque(maxlen=4000)
        self.files = {
            f"{folder}/f{number}": File() for folder in range(FOLDERS) for number in range(FILES // FOLDERS)
        }
        self._folders = {f"extra{number}": {False} for number in range(2)}
        """Whether each may be there."""
        self._claims: list[tuple[str, str, bytes]] = []
        """Contents that have to be under one of two names, because a rename has failed."""
        self._root, self._phone = root / name, phone / name
        self._subject = ""
        self._random = random.Random(seed)
        self._tally = tally
        self._ended = threading.Event()

    def prepare(self) -> None:
        """Make the directories, while nothing goes wrong yet."""
        for folder in range(FOLDERS):
            (self._root / str(folder)).mkdir(parents=True)

    def run(self) -> None:
        names, weights = zip(*ODDS, strict=True)
        try:
            while not self._ended.is_set():
                (name,) = self._random.choices(names, weights)
                getattr(self, f"_{name}")()
                time.sleep(self._random.expovariate(100))
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            self.failure = error

    def end(self) -> None:
        self._ended.set()

    def history(self) -> list[str]:
        """Tell what it did last, and before that to the file that it has to do with now: there the reason may be."""
        names = set(self._subject.split(" to "))
        lines = [*self._history]
        return [line for line in lines[:-20] if names & set(line.split())][-100:] + lines[-20:]

    # --- what it does --------------------------------------------------------------------

    def _replace(self) -> None:
        name, file = self._any()
        self._drop_claims(name)
        content = self._content()
        step = self._random.choice((len(content) + 1, 65536, 10_000))
        with self._counted("write") as failed:
            with self._mount(name).open("wb", buffering=0) as stream:
                file.written(b"")  # truncated, and everything may end here
                file.written(content)
                done = 0
                for at in range(0, len(content), step):
                    done += stream.write(content[at : at + step])
                if done != len(content):
                    raise Violation(f"{name}: a write was short without an error")
                # A close alone doesn't wait for a file that nothing was written to.
                if self._random.random() < 0.4 or not content:
                    os.fsync(stream.fileno())
                    self._acknowledged(name, content)
            self._acknowledged(name, content)
        self._after_write(name, content, failed)

    def _append(self) -> None:
        more = self._random.randbytes(self._random.randint(1, SMALL))
        self._change(lambda old: (len(old), more), "ab")

    def _overwrite(self) -> None:
        def piece(old: bytes) -> tuple[int, bytes]:
            at = self._random.randrange(max(1, len(old)))
            return at, self._random.randbytes(self._random.randint(1, SMALL))

        self._change(piece, "r+b")

    def _change(self, piece: Callable[[bytes], tuple[int, bytes]], mode: str) -> None:
        found = self._certain()
        if found is None:
            return
        name, file, old = found
        self._drop_claims(name)
        at, data = piece(old)
        new = old[:at] + data + old[at + len(data) :]
        with self._counted("change") as failed:
            with self._mount(name).open(mode, buffering=0) as stream:
                file.written(Blend(old, new))
                stream.seek(at)
                if stream.write(data) != len(data):
                    raise Violation(f"{name}: a write was short without an error")
            self._acknowledged(name, new)
        self._after_write(name, data, failed)

    def _cut(self) -> None:
        found = self._certain()
        if found is None:
            return
        name, file, old = found
        self._drop_claims(name)
        size = self._random.randint(0, len(old) + 1000)
        new = old[:size] + bytes(max(0, size - len(old)))
        with self._counted("truncate") as failed:
            file.written(Blend(old, new))
            os.truncate(self._mount(name), size)
            self._acknowledged(name, new)
        self._after_write(name, b"", failed)

    def _verify(self) -> None:
        name, file = self._any()
        with self._counted("read"):
            content = self._read(name, file)
            file.check(f"{self.name}/{name}, read", content)
            self._tally.add(verified=len(content or b""))

    def _verify_part(self) -> None:
        found = self._certain()
        if found is None or not found[2]:
            return
        name, _, content = found
        at = self._random.randrange(len(content))
        count = self._random.randint(1, SMALL)
        with self._counted("read"), self._mount(name).open("rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            piece = os.pread(stream.fileno(), count, at)
            self._tally.add(read=len(piece), verified=len(piece))
            if piece != content[at : at + count]:
                raise Violation(f"{self.name}/{name}: other bytes than were written, at {at}")

    def _rename(self) -> None:
        found = self._certain()
        if found is None:
            return
        name, file, content = found
        target_name, target = self._any()
        if target is file:
            return
        self._subject = f"{name} to {target_name}"
        self._drop_claims(name, target_name)
        with self._counted("rename") as failed:
            self._mount(name).rename(self._mount(target_name))
            file.acknowledged(None)
            target.acknowledged(content)
            self._check_disk(name)
            self._check_disk(target_name)
        if failed:
            target.attempted(content)
            file.attempted(None)
            self._settle(name)
            self._settle(target_name)
            self._claims.append((name, target_name, content))
            file.wandering.append(content)
            target.wandering.append(content)

    def _unlink(self) -> None:
        name, file = self._any()
        self._drop_claims(name)
        with self._counted("unlink") as failed:
            self._mount(name).unlink()
            if not file.may_be_present:
                raise Violation(f"{self.name}/{name} was deleted, though there is no such file")
            file.acknowledged(None)
            self._check_disk(name)
        if failed and failed != [errno.ENOENT]:
            file.attempted(None)
            self._settle(name)

    def _folder(self) -> None:
        name = self._random.choice([*self._folders])
        maybe = self._folders[name]
        if maybe == {False}:
            with self._counted("mkdir") as failed:
                (self._root / name).mkdir()
                maybe = {True}
        else:
            with self._counted("rmdir") as failed:
                (self._root / name).rmdir()
                maybe = {False}
        present = (self._phone / name).is_dir()
        if not failed and present not in maybe:
            raise Violation(f"{self.name}/{name}: the phone knows nothing of an acknowledged mkdir or rmdir")
        self._folders[name] = {present}

    def _list(self) -> None:
        folder = str(self._random.randrange(FOLDERS))
        with self._counted("list"):
            # Its own changes only come from this thread, so nothing may be missing and nothing too much.
            found = set(os.listdir(self._root / folder))
            files = {name.partition("/")[2]: file for name, file in self.files.items() if name[0] == folder}
            missing = {name for name, file in files.items() if not file.may_be_absent} - found
            if missing:
                there = sorted(os.listdir(self._phone / folder))
                raise Violation(
                    f"{self.name}/{folder}: {sorted(missing)} is missing in {sorted(found)}, the phone has {there}"
                )
            unknown = found - {name for name, file in files.items() if file.may_be_present}
            unknown = {name for name in unknown if parse(name) is None}
            if unknown:
                raise Violation(f"{self.name}/{folder}: {sorted(unknown)} shouldn't be in its listing")

    def _date(self) -> None:
        name, file = self._any()
        with self._counted("utime") as failed:
            os.utime(self._mount(name), (1e9, 1e9))
        del file, failed

    # --- how it knows ---------------------------------------------------------------------

    def check_all(self) -> None:
        """Look at every file, on the phone's disk and through the mount, when nothing goes wrong any more."""
        for folder in range(FOLDERS):
            os.listdir(self._root / str(folder))
        for name, target, content in self._claims:
            if content not in {self._on_disk(name), self._on_disk(target)}:
                raise Violation(f"{self.name}/{name} is lost by a rename to {target} that failed")
        for name, file in self.files.items():
            on_disk = self._on_disk(name)
            file.check(f"{self.name}/{name}, on the phone's disk", on_disk)
            through_mount = self._read(name, file, patient=True)
            if through_mount != on_disk:
                raise Violation(
                    f"{self.name}/{name}: the mount shows {told(through_mount)}, the phone has {told(on_disk)}"
                )
            self._tally.add(verified=len(on_disk or b"") + len(through_mount or b""))

    def _acknowledged(self, name: str, content: bytes) -> None:
        self.files[name].acknowledged(content)
        self._check_disk(name)

    def _check_disk(self, name: str) -> None:
        content = self._on_disk(name)
        self.files[name].check(f"{self.name}/{name}, acknowledged, on the phone's disk", content)
        self._tally.add(verified=len(content or b""))

    def _after_write(self, name: str, data: bytes, failed: list[int]) -> None:
        if not failed:
            self._tally.add(written=len(data))
        elif not self._is_put_aside(name):
            self.files[name].check(
                f"{self.name}/{name}, after a failed write, on the disk", self._on_disk(name)
            )

    def _settle(self, name: str) -> None:
        """Take what is on the phone's disk for what it is, after a failure that has ended."""
        if self._is_put_aside(name):
            return
        file, content = self.files[name], self._on_disk(name)  # in this order: it may be restored just now
        file.check(f"{self.name}/{name}, after a failure, on the phone's disk", content)
        if not file.deliverable:
            file.acknowledged(content)

    def _is_put_aside(self, name: str) -> bool:
        """Tell whether the phone holds a file under a temporary name only, as long as nobody lists the directory."""
        if self._on_disk(name) is not None:
            return False
        file, (folder, _, _) = self.files[name], name.partition("/")
        for path in (self._phone / folder).iterdir():
            with contextlib.suppress(FileNotFoundError):  # it is restored just now
                if parse(path.name) is not None and path.is_file() and file.allows(path.read_bytes()):
                    return True
        return False

    def _on_disk(self, name: str) -> bytes | None:
        try:
            return (self._phone / name).read_bytes()
        except FileNotFoundError:
            return None

    def _read(self, name: str, file: File, *, patient: bool = False) -> bytes | None:
        """Read through the mount, from the phone; insist for a while on a file that has to be there.

        `patient`: also on an answer other than an error. A device that was given up is tried again after seconds.
        """
        deadline = time.monotonic() + REACH
        while True:
            try:
                with self._mount(name).open("rb", buffering=0) as stream:
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                    content = stream.readall()
                    self._tally.add(read=len(content))
                    return content
            except FileNotFoundError:
                if file.may_be_absent:
                    return None
                if time.monotonic() > deadline:
                    raise Violation(f"{self.name}/{name} is out of sight for {REACH:.0f} s") from None
                with contextlib.suppress(OSError):  # on a locked phone nothing is
                    os.listdir(self._root.parent)
                    os.listdir(self._mount(name).parent)
                time.sleep(0.2)
            except OSError:
                if not patient or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _any(self) -> tuple[str, File]:
        name = self._random.choice([*self.files])
        self._subject = name
        return name, self.files[name]

    def _drop_claims(self, *names: str) -> None:
        """These names are about to change: what has to be under them or elsewhere can't be told any more."""
        self._claims = [claim for claim in self._claims if not set(names) & set(claim[:2])]

    def _certain(self) -> tuple[str, File, bytes] | None:
        """Return a file of which it is known what it holds."""
        known = [
            (name, file, file.content)
            for name, file in self.files.items()
            if file.certain and file.content is not None
        ]
        chosen = self._random.choice(known) if known else None
        self._subject = chosen[0] if chosen else ""
        return chosen

    def _content(self) -> bytes:
        limit = LARGE if self._random.random() < 0.05 else SMALL * 4
        return self._random.randbytes(self._random.randint(0, limit))

    def _mount(self, name: str) -> Path:
        return self._root / name

    @contextmanager
    def _counted(self, what: str) -> Iterator[list[int]]:
        """Count an operation and its error, which ends it; yields a list that then holds the errno."""
        failed: list[int] = []
        self.doing = what, time.monotonic()
        try:
            yield failed
        except OSError as error:
            failed.append(error.errno or 0)
        finally:
            self.doing = None
            codes = "".join(f" {errno.errorcode.get(number, number)}" for number in failed)
            self._history.append(f"{time.strftime('%X')} {what} {self._subject}{codes}")
        with self._tally.lock:
            self._tally.operations[what] += 1
            for number in failed:
                self._tally.errors[f"{what}: {errno.errorcode.get(number, number)}"] += 1
