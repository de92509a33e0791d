"""One run: a few programs on one phone, and perhaps a hand on its cable, in the one order that a seed gives."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import random
import shutil
import signal
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest
import trio
from trio.testing import MockClock

from mtpfs.errors import MtpfsError
from mtpfs.vfs import Filesystem, Node, Open
from mtpfs.vfs.temporaries import parse
from mtpfs.virtual.capabilities import parse_options
from mtpfs.virtual.transport import open_virtual
from phones import ONE_STORAGE
from stress.ledger import SHORT, SIZE, Change, Ledger, ViolationError, content
from stress.wire import StressSession, leave_nothing_to_chance
from vfs.world import filesystem

KINDS = tuple(
    words
    for words in ONE_STORAGE
    if not parse_options(words).formats and not parse_options(words).hides_dot_names
)
"""The kinds of phone that take and show any file."""
NAMES = (b"a.txt", b"b.txt", b"c")
LATE = 3600.0  # seconds on the run's clock after which it hangs
REAL = 20.0  # real seconds after which it does
SETTLING = 60.0  # seconds in which a phone forgets what it had under other names
NEVER = {errno.EBADF, errno.ESTALE, errno.ENOENT, errno.EIO}
"""What nobody may hear of a descriptor that was opened while all was well."""
BROKEN_OFF = {errno.ENODEV, errno.EIO, errno.ETIMEDOUT, errno.ESTALE}
"""After these it isn't known whether the device has done it."""
ACTIONS = (
    *("write", "write", "replace", "read", "rename", "rename", "unlink", "truncate"),
    *("read_long", "append_sync", "mkdir", "rmdir", "list", "move_folder"),
)


class Run:
    """What one run has, and does."""

    real: float = REAL

    def __init__(self, seed: int, phone: Path) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.phone = phone
        self.kind = self.chance.choice(KINDS)
        self.trouble = self.chance.choice(("", "", "unplug", "lock", "both"))
        self.calm = True
        """Nothing has been unplugged or locked yet."""
        self.ledger = Ledger()
        self.log: deque[str] = deque(maxlen=400)
        self.answers: Counter[str] = Counter()
        self.fs: Filesystem
        self.session: StressSession
        self.root: Node

    # --- the course ----------------------------------------------------------------------

    async def main(self) -> None:
        """Run it; whatever is raised is wrong."""
        (self.phone / "d").mkdir()
        for place in ("a.txt", "d/b.txt", "c"):
            (self.phone / place).write_bytes(content(self.ledger.stamp()))
        words = "&".join(filter(None, (self.kind, self.chance.choice(("", "no-events")))))
        transport = open_virtual(f"{self.phone}?{words}" if words else str(self.phone))
        self.session = StressSession(transport, self.chance)
        with trio.fail_after(LATE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.session.listen)
                async with filesystem(self.session, ttl=self.chance.choice((0.0, 5.0))) as self.fs:
                    entries = await self.fs.entries(self.fs.tree.root)
                    self.root = entries[0]
                    async with trio.open_nursery() as programs:
                        for number in range(self.chance.randint(3, 4)):
                            programs.start_soon(self._program, f"p{number}", random.Random(self._draw()))
                        if self.trouble:
                            programs.start_soon(self._trouble, random.Random(self._draw()))
                    await self._settle()
                self._check_let_go()
                self._check_left()
                nursery.cancel_scope.cancel()
        transport.close()

    def _draw(self) -> int:
        return self.chance.getrandbits(32)

    def note(self, who: str, what: object) -> None:
        self.log.append(f"{self.ledger.now():4} {trio.current_time():8.3f} {who}: {what}")

    async def _settle(self) -> None:
        """Wait for what is sent later, and look everywhere once more."""
        await self.fs.finish()
        self.note("end", "finished")
        await trio.sleep(SETTLING)
        self.fs.tree.expire()
        for directory in [self.root, *await self.fs.entries(self.root)]:
            if directory.is_folder:
                await self.fs.entries(directory)

    # --- trouble -------------------------------------------------------------------------

    async def _trouble(self, chance: random.Random) -> None:
        for _ in range(chance.randint(1, 3)):
            await self._pass(chance, 60)
            what = self.trouble if self.trouble != "both" else chance.choice(("unplug", "lock"))
            self.calm = False
            self.note("world", what)
            if what == "unplug":
                await self.session.unplug()
                await self._pass(chance, 40)
                await self.session.replug()
            else:
                self.session._transport.set_locked(True)
                self.session.hear(always=False)
                await self._pass(chance, 40)
                self.session._transport.set_locked(False)
                self.session.hear()
            self.note("world", "all is well")

    @staticmethod
    async def _pass(chance: random.Random, most: int) -> None:
        for _ in range(chance.randint(0, most)):
            await trio.lowlevel.checkpoint()

    # --- programs ------------------------------------------------------------------------

    async def _program(self, who: str, chance: random.Random) -> None:
        for _ in range(chance.randint(4, 9)):
            action = chance.choice(ACTIONS)
            self.note(who, action)
            try:
                await getattr(self, f"_do_{action}")(who, chance)
            except MtpfsError as error:
                code = errno.errorcode.get(error.errno, "?")
                self.answers[code] += 1
                self.note(who, f"{action}: {code} {error}")
            else:
                self.note(who, f"{action} done")

    async def _directory(self, chance: random.Random) -> Node:
        if chance.random() < 0.5:
            return self.root
        for name in (b"d", b"e"):
            with suppress(MtpfsError):
                return await self._lookup(self.root, name)
        return self.root

    async def _lookup(self, directory: Node, name: bytes) -> Node:
        node = await self.fs.lookup(directory, name)
        node.lookups += 1  # as the kernel does
        return node

    async def _open(self, who: str, directory: Node, name: bytes, *, write: bool, truncate: bool) -> Open:
        """Open a file, or create it, as open(2) does."""
        try:
            node = await self._lookup(directory, name)
        except MtpfsError as error:
            if error.errno != errno.ENOENT or not write:
                raise
            opened = await self.fs.create(directory, name)
            opened.file.node.lookups += 1
        else:
            before = self.ledger.begin(node, b"", 0) if truncate else None
            try:
                opened = await self.fs.open(node, write=write, truncate=truncate)
            finally:
                if before is not None:
                    self.ledger.follow(before)
        self.note(who, f"opened {opened.file.node.path} as {opened.file.node.ino}")
        return opened

    @contextmanager
    def _sound(self, opened: Open) -> Iterator[None]:
        """Raise `ViolationError` for an answer that a descriptor may not get while all is well."""
        calm = self.calm
        try:
            yield
        except MtpfsError as error:
            if error.errno == errno.ESTALE and parse_options(self.kind).finds_again:
                raise  # an object that gets another handle twice while it has no name of its own; in README's Caveats
            if calm and self.calm and error.errno in NEVER:
                raise ViolationError(f"{opened.file.node.path}: {error!r} on an open descriptor") from error
            raise

    async def _close(self, who: str, opened: Open, *changes: Change) -> None:
        try:
            with self._sound(opened):
                await self.fs.flush(opened)
            self.ledger.acknowledge(*changes)
            self.note(who, f"closed {opened.file.node.ino}, acknowledged {[c.stamp for c in changes]}")
        finally:
            await self.fs.release(opened)

    async def _write(self, who: str, opened: Open) -> Change:
        node = opened.file.node
        stamp = self.ledger.stamp(node)
        change = self.ledger.begin(node, stamp)
        self.note(who, f"write {stamp!r} to {node.ino}")
        with self._sound(opened):
            await self.fs.write(opened, 0, content(stamp))
        return change

    async def _read(self, opened: Open) -> None:
        calm = self.calm
        with self._sound(opened):
            data = bytes(await self.fs.read(opened, 0, SIZE * 2))
        self.ledger.check_read(opened.file.node, data, calm=calm and self.calm)

    async def _do_write(self, who: str, chance: random.Random) -> None:
        directory = await self._directory(chance)
        opened = await self._open(
            who, directory, chance.choice(NAMES), write=True, truncate=chance.random() < 0.7
        )
        changes = []
        try:
            for _ in range(chance.randint(1, 2)):
                changes.append(await self._write(who, opened))
                if chance.random() < 0.3:
                    with self._sound(opened):
                        await self.fs.sync(opened)
                    self.ledger.acknowledge(*changes)
        except BaseException:
            with suppress(MtpfsError):
                await self._close(who, opened)
            raise
        # Of several writes through one descriptor, the last one is what its close is about.
        await self._close(who, opened, *changes[-1:])

    async def _do_append_sync(self, who: str, chance: random.Random) -> None:
        """Write, fsync, read, and write on a descriptor that stays open for long."""
        directory = await self._directory(chance)
        opened = await self._open(who, directory, chance.choice(NAMES), write=True, truncate=False)
        changes: list[Change] = []
        try:
            for _ in range(2):
                changes.append(await self._write(who, opened))
                with self._sound(opened):
                    await self.fs.sync(opened)
                self.ledger.acknowledge(changes[-1])
                await self._pass(chance, 20)
                await self._read(opened)
        finally:
            await self._close(who, opened)

    async def _do_read(self, who: str, chance: random.Random) -> None:
        directory = await self._directory(chance)
        opened = await self._open(who, directory, chance.choice(NAMES), write=False, truncate=False)
        try:
            await self._read(opened)
        finally:
            await self._close(who, opened)

    async def _do_read_long(self, who: str, chance: random.Random) -> None:
        directory = await self._directory(chance)
        opened = await self._open(who, directory, chance.choice(NAMES), write=False, truncate=False)
        try:
            for _ in range(4):
                await self._pass(chance, 20)
                await self._read(opened)
        finally:
            await self._close(who, opened)

    async def _do_replace(self, who: str, chance: random.Random) -> None:
        """Write a temporary file and rename it over another, as editors and rsync do."""
        directory, name = await self._directory(chance), chance.choice(NAMES)
        temporary = chance.choice((b".%s.%s", b"%s.%s.tmp")) % (name, os.fsencode(who))
        opened = await self.fs.create(
            directory, temporary, exclusive=True, mode=chance.choice((0o600, 0o644))
        )
        opened.file.node.lookups += 1
        change = None
        try:
            change = await self._write(who, opened)
            if chance.random() < 0.3:
                with self._sound(opened):
                    await self.fs.sync(opened)
        finally:
            await self._close(who, opened, *([change] if change is not None else []))
        await self._pass(chance, 5)
        await self._rename(directory, temporary, directory, name)

    async def _do_rename(self, who: str, chance: random.Random) -> None:
        old, new = await self._directory(chance), await self._directory(chance)
        names = chance.choice(NAMES), chance.choice(NAMES)
        self.note(who, f"rename {old.path}/{names[0]!r} to {new.path}/{names[1]!r}")
        await self._rename(old, names[0], new, names[1], replace=chance.random() < 0.7)

    async def _rename(
        self, old: Node, old_name: bytes, new: Node, new_name: bytes, *, replace: bool = True
    ) -> None:
        def nodes() -> tuple[Node | None, Node | None]:
            return old.children.get(old_name), new.children.get(new_name)

        before = nodes()
        try:
            await self.fs.rename(old, old_name, new, new_name, replace=replace)
        except MtpfsError as error:
            if error.errno in BROKEN_OFF:
                for (source, _), (_, target) in itertools.product((before, nodes()), repeat=2):
                    if source is not None and target is not None:
                        self.ledger.may_have_got(target, source)
            raise

    async def _do_move_folder(self, who: str, chance: random.Random) -> None:
        names = [b"d", b"e"]
        chance.shuffle(names)
        await self.fs.rename(self.root, names[0], self.root, names[1])

    async def _do_unlink(self, who: str, chance: random.Random) -> None:
        directory, name = await self._directory(chance), chance.choice(NAMES)
        self.note(who, f"unlink {directory.path}/{name!r}")
        await self.fs.unlink(directory, name)

    async def _do_truncate(self, who: str, chance: random.Random) -> None:
        node = await self._lookup(await self._directory(chance), chance.choice(NAMES))
        size = chance.choice((0, SHORT))
        if node.size not in {SHORT, SIZE}:
            size = 0  # longer than it is would be zeros
        if size:
            return  # what it is by then, nobody can say
        change = self.ledger.begin(node, b"", size)
        try:
            await self.fs.truncate(node, size)
        finally:
            self.ledger.follow(change)

    async def _do_mkdir(self, who: str, chance: random.Random) -> None:
        node = await self.fs.mkdir(await self._directory(chance), chance.choice((*NAMES[2:], b"s")))
        node.lookups += 1

    async def _do_rmdir(self, who: str, chance: random.Random) -> None:
        await self.fs.rmdir(await self._directory(chance), chance.choice((*NAMES[2:], b"s", b"e")))

    async def _do_list(self, who: str, chance: random.Random) -> None:
        for node in await self.fs.entries(await self._directory(chance)):
            await self.fs.refresh(node)

    # --- the end -------------------------------------------------------------------------

    def _check_let_go(self) -> None:
        """Raise `ViolationError` if anything is still held, or if the tree isn't one."""
        fs = self.fs
        claims = fs._names._claims
        if claims._held or claims._waiting or claims._watches:
            raise ViolationError(f"claims are left: {claims._held} {claims._waiting} {claims._watches}")
        if left := [file.node.path for file in fs._files.all()]:
            raise ViolationError(f"files are still held: {left}")
        if fs._files._leaving or fs._late._at_work or fs.tree.hidden:
            raise ViolationError(f"left: {fs._files._leaving} {fs._late._at_work} {fs.tree.hidden}")
        seen: dict[int, str] = {}
        pending = [fs.tree.root]
        while pending:
            node = pending.pop()
            if node.is_being_listed:
                raise ViolationError(f"{node.path} is still locked")
            if id(node) in seen:
                raise ViolationError(f"{node.path} is also {seen[id(node)]}")
            seen[id(node)] = node.path
            for name, child in node.children.items():
                if child.parent is not node or child.name != name or child.unlinked:
                    raise ViolationError(f"{child.path} ({child.unlinked=}) is in {node.path} as {name!r}")
                pending.append(child)

    def _check_left(self) -> None:
        """Raise `ViolationError` unless the phone has what the tree shows, and what was acknowledged."""
        there = {
            str(path.relative_to(self.phone)): path
            for path in self.phone.rglob("*")
            if parse(path.name) is None or not self.trouble
        }
        if not self.trouble and (left := [name for name, path in there.items() if parse(path.name)]):
            raise ViolationError(f"temporary objects are left: {left}")
        shown = {}
        for node in self.root.subtree():
            if node is not self.root and (parse(node.object_name) is None or not self.trouble):
                path = "/".join(reversed([each.object_name for each in node.ancestry() if each.object_name]))
                shown[path.removeprefix(self.root.object_name).lstrip("/")] = node
        if shown.keys() != there.keys():
            raise ViolationError(f"shown {sorted(shown)}, on the phone {sorted(there)}")
        for name, node in shown.items():
            if node.is_folder:
                continue
            data = there[name].read_bytes()
            self.ledger.check_read(node, data, calm=not self.trouble)
            self.ledger.check_left(node, data)
        if not self.trouble:
            lost = {c.node.path for c in self.ledger.changes if c.node.lost and c.acknowledged < float("inf")}
            if lost:
                raise ViolationError(f"acknowledged, and lost: {lost}")


@contextmanager
def _deterministic(run: Run, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the seed decide whatever is left to chance, and to the machine, otherwise."""

    def alarm(number: int, frame: FrameType | None) -> None:
        raise ViolationError(f"not at its end after {run.real} real seconds")

    leave_nothing_to_chance(patch, random.Random(run.seed))
    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, run.real)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def play(seed: int, course: Callable[[int, Path], Run] = Run) -> Run:
    """Run one seed of a course; raise `AssertionError`, with what led to it, for anything that may not be."""
    top = Path(tempfile.mkdtemp(prefix="mtpfs-stress-"))
    phone, spools = top / "phone", top / "spools"
    phone.mkdir()
    spools.mkdir()
    run = course(seed, phone)
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(spools))
            with _deterministic(run, patch):
                trio.run(run.main, clock=MockClock(autojump_threshold=0))
    except Exception as error:
        lines = "\n".join(run.log)
        raise AssertionError(
            f"seed {seed} ({run.kind or 'plain'}, trouble: {run.trouble or 'none'}): {_first(error)!r}\n{lines}"
        ) from error
    finally:
        logging.disable(level)
        shutil.rmtree(top, ignore_errors=True)
    return run


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
