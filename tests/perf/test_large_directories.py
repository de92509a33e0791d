"""What an operation costs doesn't depend on how much is in its directory: not here, and not on the virtual phone."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from trio.testing import wait_all_tasks_blocked

from mtpfs.errors import FsError
from mtpfs.protocol.codes import Event, Operation
from mtpfs.vfs import Node
from perf.counting import Work, counted_steps
from perf.rig import Rig, rig

FEW, MANY = 100, 10_000
KINDS = ("", "as=android14", "as=sailfish", "case-insensitive", "no-edit")
SLACK = 1.05
"""Times as many steps as among few: a name may be one digit longer."""


async def put(r: Rig, name: bytes, data: bytes = b"x") -> None:
    opened = await r.fs.create(r.root, name)
    await r.fs.write(opened, 0, data)
    await r.fs.flush(opened)
    await r.fs.release(opened)


async def overwrite(r: Rig) -> None:
    opened = await r.fs.open(r.root.children[b"there"], write=True, truncate=True)
    await r.fs.write(opened, 0, b"other contents")
    await r.fs.flush(opened)
    await r.fs.release(opened)


async def read(r: Rig) -> None:
    opened = await r.fs.open(await r.fs.lookup(r.root, b"there"), write=False)
    await r.fs.read(opened, 0, 4096)
    await r.fs.release(opened)


async def miss(r: Rig) -> None:
    with pytest.raises(FsError):
        await r.fs.lookup(r.root, b"not there")


async def collide(r: Rig) -> None:
    with pytest.raises(FsError):
        await r.fs.create(r.root, b"there")


async def move(r: Rig, source: Node, destination: Node) -> None:
    if r.fs.device.supports(Operation.MoveObject):
        await r.fs.rename(source, b"there", destination, b"there")
        return
    with pytest.raises(FsError):
        await r.fs.rename(source, b"there", destination, b"there")


async def added(r: Rig) -> None:
    """Another program puts a file there, and the phone's own system tells it (the virtual phone would have to look)."""
    (r.phone / "news").write_bytes(b"x")
    phone = r.transport.responder.phone
    node = phone.store.adopt(r.storage, "news", folder=False)
    phone.notify(Event.ObjectAdded, node.handle)
    r.session.hear()
    await wait_all_tasks_blocked()
    assert b"news" in r.root.children


async def removed(r: Rig) -> None:
    (r.phone / "news").unlink()
    phone = r.transport.responder.phone
    node = r.storage.children["news"]
    phone.store.forget(node)
    phone.notify(Event.ObjectRemoved, node.handle)
    r.session.hear()
    await wait_all_tasks_blocked()
    assert b"news" not in r.root.children


async def altered(r: Rig) -> None:
    (r.phone / "there").write_bytes(b"changed on the phone")
    r.transport.responder.phone.notify(Event.ObjectInfoChanged, r.storage.children["there"].handle)
    r.session.hear()
    await wait_all_tasks_blocked()
    assert (await r.fs.lookup(r.root, b"there")).size == 20


async def lost_track(r: Rig) -> None:
    """The phone has lost track: no listing is believed any more. The next look is another operation."""
    r.transport.responder.phone.notify(Event.UnreportedStatus, 0)
    r.session.hear()
    await wait_all_tasks_blocked()


OPERATIONS: dict[str, Callable[[Rig], Awaitable[object]]] = {
    "create": lambda r: put(r, b"new"),
    "create where the name is taken": collide,
    "look up": lambda r: r.fs.lookup(r.root, b"there"),
    "look up what isn't there": miss,
    "read": read,
    "rename": lambda r: r.fs.rename(r.root, b"new", r.root, b"other"),
    "rename over": lambda r: r.fs.rename(r.root, b"other", r.root, b"there"),
    "replace": overwrite,
    "make a folder": lambda r: r.fs.mkdir(r.root, b"folder"),
    "move out": lambda r: move(r, r.root, r.root.children[b"folder"]),
    "move in": lambda r: move(r, r.root.children[b"folder"], r.root),
    "remove a folder": lambda r: r.fs.rmdir(r.root, b"folder"),
    "ObjectAdded": added,
    "ObjectRemoved": removed,
    "ObjectInfoChanged": altered,
    "remove": lambda r: r.fs.unlink(r.root, b"there"),
    "UnreportedStatus": lost_track,
}
"""In this order, each after the others: what one leaves the next one needs."""
EVENTS = (added, removed, altered, lost_track)


async def costs(phone: Path, siblings: int, words: str) -> dict[str, tuple[Work, Work]]:
    """Return steps and elements that each operation takes among so many siblings. The phone is as before then."""
    found: dict[str, tuple[Work, Work]] = {}
    async with rig(phone, words) as r:
        assert len(await r.fs.entries(r.root)) == siblings
        await put(r, b"there")  # makes the index, and shows what kind of phone it is
        for name in ("there", "new"):
            await put(r, f"{name} first".encode())
            await r.fs.rename(r.root, f"{name} first".encode(), r.root, f"{name} then".encode())
            await r.fs.unlink(r.root, f"{name} then".encode())
        walked = r.watch_tables()
        for name, operation in OPERATIONS.items():
            if operation in EVENTS and not r.fs.device.sends_events:
                continue
            before = replace(walked)
            with counted_steps(r.cable) as steps:
                await operation(r)
            found[name] = steps, walked - before
    assert len(os.listdir(phone)) == siblings
    return found


@pytest.fixture(scope="module")
def phones(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Directories with so many files. Made once, because the disk takes its time for that."""
    made = {}
    for siblings in (FEW, MANY):
        made[siblings] = tmp_path_factory.mktemp("phone")
        for number in range(siblings):
            os.mknod(made[siblings] / f"IMG_{number:05}.jpg")
    return made


@pytest.mark.parametrize("words", KINDS)
async def test_operations_among_many(phones: dict[int, Path], words: str) -> None:
    """Each operation takes as many steps among 10,000 files as among 100, and goes through no table."""
    few, many = await costs(phones[FEW], FEW, words), await costs(phones[MANY], MANY, words)
    grown = []
    for name, (steps, walked) in many.items():
        least = few[name][0]
        if steps.ours > SLACK * least.ours or walked.ours > FEW:
            grown.append(
                f"{name}: {steps.ours} steps, {walked.ours} elements; among {FEW} {least.ours} steps"
            )
        if steps.phones > SLACK * least.phones or walked.phones > FEW:
            grown.append(f"{name}, the phone: {steps.phones}, {walked.phones}; among {FEW} {least.phones}")
    assert not grown, "\n".join(grown)
