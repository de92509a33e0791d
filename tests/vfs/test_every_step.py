"""Each transfer of each change fails, in every way: old or new contents are whole, under their name, and nothing else
stays.

A change is made once without faults to count its transfers; then once for
each of them, on a fresh phone. On phones other than Android a sample is tried, always the same one;
`--all-steps` tries all. Nothing is left to chance, so the counts are the same in every run; `-s` shows them.
"""

from __future__ import annotations

import dataclasses
import errno
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from mtpfs.errors import FsError, MtpfsError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.vfs import namespace
from mtpfs.vfs.recovery import recovery_directory
from mtpfs.virtual.capabilities import parse_options, parse_virtual
from mtpfs.virtual.faults import FOREVER, Fault, FaultScript, Kind
from mtpfs.virtual.phone import Request
from mtpfs.virtual.responder import Responder
from phones import ANDROID, WRITABLE_PERSONALITIES, name
from vfs.severed import Change, Quick, Severed, Snapshot, attempt, mounted, shown, stored
from vfs.world import World

Step = TypeVar("Step")

OLD, NEW = b"old contents" * 100, b"new and longer" * 200
LONG = "n" * 240  # no temporary name has room for it


async def replace(w: World) -> None:
    await w.put(b"f.mp3", NEW)


async def replace_empty(w: World) -> None:
    await w.put(b"empty.mp3", NEW)


async def empty(w: World) -> None:
    await w.fs.truncate(await w.fs.lookup(w.root, b"f.mp3"), 0)


async def empty_by_opening(w: World) -> None:
    await w.put(b"f.mp3", b"")


async def create(w: World) -> None:
    await w.put(b"created.mp3", NEW)


async def rename(w: World) -> None:
    await w.fs.rename(w.root, b"f.mp3", w.root, b"g.mp3")


async def rename_over(w: World) -> None:
    await w.fs.rename(w.root, b"other.mp3", w.root, b"f.mp3")


async def rename_folder_over(w: World) -> None:
    await w.fs.rename(w.root, b"full", w.root, b"void")


async def move(w: World) -> None:
    await w.fs.rename(w.root, b"f.mp3", await w.fs.lookup(w.root, b"full"), b"f.mp3")


async def move_over(w: World) -> None:
    await w.fs.rename(w.root, b"f.mp3", await w.fs.lookup(w.root, b"full"), b"inside.mp3")


async def move_renaming(w: World) -> None:
    await w.fs.rename(w.root, b"other.mp3", await w.fs.lookup(w.root, b"full"), b"moved.mp3")


async def unlink_open(w: World) -> None:
    opened = await w.open(b"f.mp3", write=False)
    await w.fs.unlink(w.root, b"f.mp3")
    await w.fs.release(opened)


async def save_by_renaming(w: World) -> None:
    """Write a new file, and rename it over the old one while somebody reads that."""
    reader = await w.open(b"f.mp3", write=False)
    await w.put(b"saving.mp3", NEW)
    await w.fs.rename(w.root, b"saving.mp3", w.root, b"f.mp3")
    await w.fs.release(reader)


async def rsync(w: World) -> None:
    draft = await w.put(b".f.mp3.Ab12Cd", NEW, by_mkstemp=True)
    await w.fs.set_modified(draft, 1_400_000_000)
    await w.fs.rename(w.root, b".f.mp3.Ab12Cd", w.root, b"f.mp3")


async def folders(w: World) -> None:
    made = await w.fs.mkdir(w.root, b"made")
    await w.put(b"x.mp3", NEW, made)
    await w.fs.unlink(made, b"x.mp3")
    await w.fs.rmdir(w.root, b"made")


BEFORE: Snapshot = {
    "f.mp3": OLD,
    "other.mp3": b"other",
    "empty.mp3": b"",
    "full": None,
    "full/inside.mp3": b"inside",
    "full/other.mp3": b"another",
    "void": None,
}
"""All files are music: a player takes nothing else."""


def after(*gone: str, **new: bytes | None) -> Snapshot:
    """Return BEFORE with names gone from its top and with new files, whose extension goes without saying, and folders."""
    kept = {
        path: data for path, data in BEFORE.items() if path.partition("/")[0].removesuffix(".mp3") not in gone
    }
    made = {name.replace("__", "/"): data for name, data in new.items()}
    return kept | {path if data is None else f"{path}.mp3": data for path, data in made.items()}


@dataclass(frozen=True)
class Case:
    change: Change
    states: tuple[Snapshot, ...]
    """What may be there at the end; the last one is what there is when all went well."""
    unsent: tuple[Snapshot, ...] = ()
    """What the mount that made the change may show besides: the device hasn't got it, and was told so."""
    is_quiet: bool = False
    """Nobody hears of a failure: it comes when the last close is over. The old contents are there then."""


CASES = [
    Case(replace, (BEFORE, after(f=NEW))),
    Case(replace_empty, (BEFORE, after(empty=NEW))),
    Case(empty, (BEFORE, after(f=b""))),
    Case(empty_by_opening, (BEFORE, after(f=b"")), is_quiet=True),
    Case(create, (BEFORE, after(created=NEW))),
    Case(rename, (BEFORE, after("f", g=OLD))),
    Case(rename_over, (BEFORE, after("other", f=b"other") | {"full/other.mp3": b"another"})),
    Case(
        rename_folder_over,
        (BEFORE, after("full", void=None, void__inside=b"inside", void__other=b"another")),
    ),
    Case(move, (BEFORE, after("f", full__f=OLD))),
    Case(move_over, (BEFORE, after("f", full__inside=OLD))),
    Case(move_renaming, (BEFORE, after("other", full__moved=b"other") | {"full/other.mp3": b"another"})),
    Case(unlink_open, (BEFORE, after("f"))),
    Case(save_by_renaming, (BEFORE, after(saving=NEW), after(f=NEW))),
    Case(
        rsync,
        (BEFORE, after(f=NEW)),
        unsent=(BEFORE | {".f.mp3.Ab12Cd": NEW}, after(f=NEW) | {".f.mp3.Ab12Cd": NEW}),
    ),
    Case(folders, (BEFORE, after(made=None), after(made=None, made__x=NEW), BEFORE)),
]
MOVES = frozenset({"move", "move_over", "move_renaming"})
ONE_IN, ONE_IN_ON_ANDROID = 80, 8  # steps are taken, or all of them with --all-steps
FEWEST = 3


def chosen(steps: list[Step], words: str, case: Case, config: pytest.Config) -> list[Step]:
    """Return all steps, or some that depend on the phone and the change only."""
    if config.getoption("--all-steps"):
        return steps
    count = min(len(steps), max(FEWEST, len(steps) // (ONE_IN_ON_ANDROID if words == ANDROID else ONE_IN)))
    return random.Random(f"{words} {case.change.__name__}").sample(steps, count)


async def is_refused(bench: Bench, words: str, case: Case) -> bool:
    """Tell whether the phone can't move, and see to it that it is EXDEV then and nothing is changed."""
    if case.change.__name__ not in MOVES or Operation.MoveObject in parse_options(words).operations:
        return False
    error = await attempt(case.change, Quick(bench.phone()))
    assert error is not None
    assert error.errno == errno.EXDEV
    await bench.check(bench.plugged_in_again(), [BEFORE], "refused")
    return True


each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.change.__name__)


class Bench:
    """Fresh phones, one after the other, in one directory."""

    def __init__(self, directory: Path, words: str, before: Snapshot) -> None:
        self._directory = directory
        self._words = words
        self._before = before
        self.runs = 0
        self.verified = 0

    def phone(self, faults: FaultScript | None = None) -> Responder:
        """Make a phone with the files of `before`."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir()
        for path, data in self._before.items():
            if data is None:
                (self._directory / path).mkdir()
            else:
                (self._directory / path).write_bytes(data)
        return self.plugged_in_again(faults)

    def plugged_in_again(self, faults: FaultScript | None = None) -> Responder:
        """Return a new MTP service on what is there."""
        directories, capabilities = parse_virtual(
            f"{self._directory}?{self._words}&no-events&ghost=0".replace("?&", "?")
        )
        return Responder(directories, capabilities, faults=faults)

    async def check(self, responder: Responder, allowed: Iterable[Snapshot], what: object) -> None:
        """Mount the phone anew: it shows one of the states, and has nothing else."""
        async with mounted(Quick(responder)) as w:
            found = await shown(w)
        there = stored(self._directory)
        # What Android has only reserved (an upload that was announced and never came) it shows until
        # it is plugged in again.
        found = {path: data for path, data in found.items() if path in there or data}
        assert found in allowed, (what, summary(found))
        assert there == found, (what, sorted(there))
        self.runs += 1
        self.verified += sum(len(data) for data in found.values() if data)

    def report(self, name: str) -> None:
        print(f"{name}: {self.runs} faults, {self.verified} bytes verified")  # noqa: T201 - for `-s`


def summary(found: Snapshot) -> dict[str, object]:
    return {path: data and (data[:12], len(data)) for path, data in found.items()}


class Recorder(FaultScript):
    """Remembers which commands came."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.commands: list[int] = []

    def take(self, operation: int) -> Fault | None:
        self.commands.append(operation)
        return super().take(operation)


async def transfers(bench: Bench, case: Case) -> list[int]:
    """Make the change without faults; return the sizes of its writes."""
    transport = Severed(bench.phone())
    assert await attempt(case.change, transport) is None
    transport._responder.close()
    await bench.check(bench.plugged_in_again(), case.states[-1:], "without faults")
    return transport.sizes


@each_case
@pytest.mark.parametrize("killed", [False, True], ids=["unplugged", "killed"])
@pytest.mark.parametrize("words", WRITABLE_PERSONALITIES, ids=name)
async def test_severed(
    tmp_path: Path, words: str, case: Case, killed: bool, request: pytest.FixtureRequest
) -> None:
    """The cable is pulled, or the mount killed while the phone goes on, before and in the middle of each transfer."""
    bench = Bench(tmp_path / "phone", words, BEFORE)
    if await is_refused(bench, words, case):
        return
    sizes = await transfers(bench, case)
    steps = [
        (number, part)
        for number, size in enumerate(sizes)
        for part in sorted({0, min(512, size), size // 2, size - 1} if size else {0})
    ]
    for number, part in chosen(steps, words, case, request.config):
        transport = Severed(bench.phone())
        transport.plan(number, part - part % 512)
        error = await attempt(case.change, transport)
        allowed = case.states if error or case.is_quiet else case.states[-1:]
        if killed:
            await bench.check(transport._responder, allowed, (number, part))
        transport._responder.close()
        await bench.check(bench.plugged_in_again(), allowed, (number, part))
    bench.report(f"{name(words)} {case.change.__name__}")


FAULTS = [
    Fault(Kind.REFUSE),
    Fault(Kind.REFUSE, code=Response.StoreFull),
    Fault(Kind.FAIL, code=Response.StoreFull),
    Fault(Kind.BUSY),
    Fault(Kind.STALL),
    Fault(Kind.STALL_MID_DATA),
    Fault(Kind.STALL_MID_DATA, amount=1024),
    Fault(Kind.SILENCE),
    Fault(Kind.SILENT_SUCCESS),
    Fault(Kind.SILENCE_MID_DATA, amount=1024),
    Fault(Kind.GARBAGE_HEADER),
    Fault(Kind.WRONG_TRANSACTION, amount=5),
    Fault(Kind.GONE),
    Fault(Kind.GONE_MID_DATA),
    Fault(Kind.GONE_MID_DATA, amount=1024),
]


@each_case
@pytest.mark.parametrize("words", WRITABLE_PERSONALITIES, ids=name)
async def test_failing(tmp_path: Path, words: str, case: Case, request: pytest.FixtureRequest) -> None:
    """The device fails each command in many ways: success is never claimed falsely, on this mount and on the next."""
    bench = Bench(tmp_path / "phone", words, BEFORE)
    if await is_refused(bench, words, case):
        return
    clean = Recorder()
    async with mounted(Quick(bench.phone(clean))) as w:
        await shown(w)
        first = len(clean.commands)
        await case.change(w)
        last = len(clean.commands)
    steps = [(fault, number) for fault in FAULTS for number in range(last - first)]
    for fault, number in chosen(steps, words, case, request.config):
        what = (fault, clean.commands[first + number])
        faults = FaultScript()
        transport = Quick(bench.phone(faults))
        async with mounted(transport) as w:
            await shown(w)
            faults.add(dataclasses.replace(fault, skip=number))
            error = None
            try:
                await case.change(w)
            except MtpfsError as caught:
                error = caught
            assert len(faults.struck) == 1, what
            allowed = case.states if error or case.is_quiet else case.states[-1:]
            if not transport._responder.gone:
                w.fs.tree.expire()
                found = await shown(w)
                async with w.claims.claim(
                    subtrees=[w.root]
                ):  # what arrives later than it should isn't halfway then
                    there = stored(tmp_path / "phone")
                found = {path: data for path, data in found.items() if path in there or data}
                assert found in (*allowed, *case.unsent), (what, error, summary(found))
        transport.close()
        await bench.check(bench.plugged_in_again(), (*allowed, *case.unsent), (what, error))
    bench.report(case.change.__name__)


async def test_long_names(tmp_path: Path) -> None:
    """A name that no temporary one has room for is replaced as safely, but may have to be given back by hand."""
    before: Snapshot = {LONG: OLD}
    bench = Bench(tmp_path / "phone", "", before)

    async def change(w: World) -> None:
        await w.put(LONG.encode(), NEW)

    case = Case(change, (before, {LONG: NEW}))
    sizes = await transfers(bench, case)
    nameless = 0
    for number in range(len(sizes)):
        transport = Severed(bench.phone())
        transport.plan(number, 0)
        await attempt(change, transport)
        transport._responder.close()
        found = stored(tmp_path / "phone")
        if LONG in found:
            await bench.check(bench.plugged_in_again(), case.states, number)
        else:
            nameless += 1
            assert sorted(data or b"" for data in found.values()) == sorted([OLD, NEW])
            await bench.check(bench.plugged_in_again(), [found], number)
    assert nameless == 2  # before the command that renames, and before its data


async def test_without_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be renamed the old contents go first; while nothing has the name, both are in files here."""
    before: Snapshot = {"f.mp3": OLD}
    (tmp_path / "spool").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
    bench = Bench(tmp_path / "phone", "no-rename", before)
    case = Case(replace, (before, {}, {"f.mp3": NEW}))
    sizes = await transfers(bench, case)
    for number in range(len(sizes)):
        transport = Severed(bench.phone())
        transport.plan(number, 0)
        assert await attempt(replace, transport), (number, sizes)
        transport._responder.close()
        await bench.check(bench.plugged_in_again(), case.states, number)
        kept = {path.read_bytes() for path in recovery_directory().rglob("*") if path.is_file()}
        if not stored(tmp_path / "phone"):
            assert {OLD, NEW} <= kept, number
        shutil.rmtree(recovery_directory(), ignore_errors=True)


async def test_rename_that_is_only_advertised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that turns out not to rename in the middle of a replacement gets the contents once more."""
    faults = FaultScript()
    bench = Bench(tmp_path / "phone", "", BEFORE)
    async with mounted(Quick(bench.phone(faults))) as w:
        await shown(w)
        faults.add(
            Fault(
                Kind.REFUSE,
                Operation.SetObjectPropValue,
                times=FOREVER,
                code=Response.OperationNotSupported,
            )
        )
        await replace(w)
        await replace_empty(w)
        monkeypatch.setattr(namespace, "COPIED_FILE", len(NEW) - 1)
        with pytest.raises(FsError) as caught:
            await rename(w)  # too large to be sent anew
        assert caught.value.errno == errno.EXDEV
        assert await shown(w) == after(f=NEW, empty=NEW) == stored(tmp_path / "phone")
        monkeypatch.undo()
        await rename(w)
        assert await shown(w) == after("f", g=NEW, empty=NEW) == stored(tmp_path / "phone")


EDITED = bytearray(b"0123456789" * 300)


@pytest.mark.parametrize("killed", [False, True], ids=["unplugged", "killed"])
async def test_editing_in_place(tmp_path: Path, killed: bool) -> None:
    """An edit that breaks off leaves the file with each byte old or new, and open to the next edit."""
    before: Snapshot = {"f": bytes(EDITED)}
    bench = Bench(tmp_path / "phone", "", before)
    final = bytearray(EDITED)
    final[100:700] = b"x" * 600
    final[4000:] = bytes(1000) + b"y" * 2000
    del final[5500:]

    async def change(w: World) -> None:
        opened = await w.open(b"f")
        node = opened.file.node
        await w.fs.write(opened, 100, b"x" * 600)
        await w.fs.write(opened, 4000, b"y" * 2000)
        await w.fs.truncate(node, 5500, opened)
        await w.close(opened)

    sizes = await transfers(bench, Case(change, (before, {"f": bytes(final)})))
    assert len(sizes) >= 8
    for number, size in enumerate(sizes):
        for part in sorted({0, size // 2 // 512 * 512}):
            transport = Severed(bench.phone())
            transport.plan(number, part)
            assert await attempt(change, transport), (number, part, sizes)
            responder = transport._responder
            if not killed:
                responder.close()
                responder = bench.plugged_in_again()
            async with mounted(Quick(responder)) as w:
                (found,) = (await shown(w)).values()
                assert found is not None
                assert len(found) in {3000, 4000, 5500, 6000} or 4000 < len(found) < 6000
                wrong = [
                    at
                    for at, byte in enumerate(found)
                    if byte
                    not in (final[at] if at < len(final) else ord("y"), EDITED[at] if at < len(EDITED) else 0)
                ]
                # A phone that goes on takes the next session's first command for the rest of the data.
                assert len(wrong) <= (16 if killed and part else 0), (number, part, wrong)
                opened = await w.open(b"f")
                await w.fs.write(opened, 0, b"again")  # an edit left open by a crash is ended first
                await w.close(opened)
            assert (tmp_path / "phone/f").read_bytes() == b"again" + found[5:]
            bench.runs += 1
            bench.verified += len(found)
    bench.report("edit")


@pytest.mark.parametrize("room", [0, 1000, 2700])
@pytest.mark.parametrize("words", ["", "samsung"])
async def test_storage_that_is_too_full(tmp_path: Path, words: str, room: int) -> None:
    """The device knows beforehand that the contents don't fit."""
    used = sum(len(data) for data in BEFORE.values() if data)
    for change, states in ((replace, (BEFORE,)), (create, (BEFORE,)), (rsync, (BEFORE,))):
        bench = Bench(tmp_path / "phone", f"{words}&capacity={used + room}".lstrip("&"), BEFORE)
        error = await attempt(change, Quick(bench.phone()))
        assert error is not None
        assert error.errno == errno.ENOSPC
        await bench.check(bench.plugged_in_again(), states, change.__name__)


@pytest.mark.parametrize("words", ["", "samsung"])
@pytest.mark.parametrize(
    "change", [replace, create, rsync, save_by_renaming], ids=lambda change: change.__name__
)
async def test_storage_that_fills_up(tmp_path: Path, words: str, change: Change) -> None:
    """A camera takes the room between announcement and contents: ENOSPC, and what was there is there."""
    used = sum(len(data) for data in BEFORE.values() if data)
    bench = Bench(tmp_path / "phone", f"{words}&capacity={used + 5000}".lstrip("&"), BEFORE)
    transport = Quick(bench.phone())
    start = transport.responder._start

    def take_a_picture(request: Request) -> None:
        if request.operation == Operation.SendObject:
            (tmp_path / "phone/other.mp3").write_bytes(bytes(5000))
        start(request)

    transport.responder._start = take_a_picture  # type: ignore[method-assign]
    error = await attempt(change, transport)
    assert error is not None
    assert errno.errorcode[error.errno] == "ENOSPC"
    await bench.check(bench.plugged_in_again(), [after(other=bytes(5000))], change.__name__)


async def test_storage_that_fills_up_during_an_edit(tmp_path: Path) -> None:
    """Room that ends in the middle of a change in place is an error, and what isn't changed stays."""
    before: Snapshot = {"f": bytes(EDITED)}
    bench = Bench(tmp_path / "phone", "capacity=10000", before)

    async def change(w: World) -> None:
        opened = await w.open(b"f")
        try:
            await w.fs.write(opened, 3000, bytes(100_000))
            await w.fs.flush(opened)
        finally:
            await w.fs.release(opened)

    error = await attempt(change, Quick(bench.phone()))
    assert error is not None
    assert (tmp_path / "phone/f").read_bytes()[:3000] == EDITED
