"""Names that a phone stores as others, with OK: refused before anything is done, and tried out only once."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable
from pathlib import Path

import pytest

from mtpfs.device.description import learned
from mtpfs.device.spelling import oddities
from mtpfs.errors import FsError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.virtual.faults import FOREVER, Fault, Kind
from vfs.world import World, world

ODD = (
    b"a:b",
    b"a?",
    b"x*y",
    b'"a"',
    b"<a>",
    b"a|b",
    b"a\\b",
    b"a;b",
    b" a",
    b"a ",
    b"a.",
    b"a\nb",
    "a\U0001f600".encode(),
)


async def code(call: Awaitable[object]) -> int:
    try:
        await call
    except FsError as error:
        return error.errno
    return 0


async def everything(w: World, name: bytes) -> list[int]:
    """Create, make and rename to a name; return the answers."""
    return [
        await code(w.put(name, b"new")),
        await code(w.fs.mkdir(w.root, name)),
        await code(w.fs.rename(w.root, b"plain", w.root, name)),
    ]


@pytest.mark.parametrize("words", ["alters", "as=umtp", "alters&no-move&no-rename"])
@pytest.mark.parametrize("name", ODD)
async def test_altered_names_are_refused(tmp_path: Path, words: str, name: bytes) -> None:
    """EINVAL; what has the name that the phone would make of it keeps its contents; nothing is left."""
    (tmp_path / "plain").write_bytes(b"plain")
    for sibling in ("a_b", "a_", "x_y", "_a_", "a", "a__"):
        (tmp_path / sibling).write_bytes(b"sibling")
    before = sorted(os.listdir(tmp_path))
    async with world(tmp_path, words) as w:
        assert await everything(w, name) == [errno.EINVAL] * 3
        assert sorted(os.listdir(tmp_path)) == before == sorted(map(os.fsdecode, await w.names()))
        spent = w.operations.copy()
        assert await everything(w, b"b" + name if name[:1] != b" " else name + b"b") == [errno.EINVAL] * 3
        assert w.spent(spent) == {}  # once is enough
        assert learned(w.fs.device)["names"].startswith("stored as others: ")
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (b"plain" if path.name == "plain" else b"sibling")


@pytest.mark.parametrize("name", ODD)
async def test_names_that_are_kept(tmp_path: Path, name: bytes) -> None:
    """They are as good as others, and after the trial as cheap."""
    async with world(tmp_path) as w:
        await w.put(name, b"x")
        assert os.listdir(tmp_path) == [os.fsdecode(name)]
        spent = w.operations.copy()
        await w.put(b"plain", b"x")
        plain, spent = w.spent(spent), w.operations.copy()
        await w.fs.unlink(w.root, name)
        w.spent(spent)
        spent = w.operations.copy()
        await w.put(name, b"x")
        assert w.spent(spent) == plain
        assert "names" not in learned(w.fs.device)


async def test_trimmed_on_a_card(tmp_path: Path) -> None:
    """Android trims the names of what is sent to removable storage."""
    async with world(tmp_path, "removable") as w:
        assert await everything(w, b" a") == [errno.EINVAL, errno.EINVAL, errno.ENOENT]
        assert os.listdir(tmp_path) == []


async def test_an_unsent_file_is_not_renamed_so(tmp_path: Path) -> None:
    """It keeps its name, and its contents arrive."""
    async with world(tmp_path, "alters") as w:
        opened = await w.fs.create(w.root, b"new")
        await w.fs.write(opened, 0, b"contents")
        assert await code(w.fs.rename(w.root, b"new", w.root, b"a:b")) == errno.EINVAL
        await w.close(opened)
        assert os.listdir(tmp_path) == ["new"]
        assert (tmp_path / "new").read_bytes() == b"contents"


async def test_where_no_trial_can_be_made(tmp_path: Path) -> None:
    """The name of what was made is compared then."""
    async with world(tmp_path, "alters") as w:
        await w.names()
        w.transport.faults.add(Fault(Kind.REFUSE, Operation.SendObjectInfo, code=Response.AccessDenied))
        assert await code(w.put(b"a:b", b"x")) == errno.EINVAL
        assert os.listdir(tmp_path) == []


async def test_what_cannot_be_deleted_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A trial whose folder stays says so, and is a trial all the same."""
    async with world(tmp_path) as w:
        w.transport.faults.add(
            Fault(Kind.REFUSE, Operation.DeleteObject, times=FOREVER, code=Response.AccessDenied)
        )
        assert await code(w.fs.mkdir(w.root, b"a:b")) == 0
        w.transport.faults.clear()
    assert "stays on the device" in caplog.text
    caplog.clear()


def test_doubts() -> None:
    """Plain names, accents, other alphabets and dot files raise none."""
    for plain in (
        "a.txt",
        ".bashrc",
        "Café",
        "Cafe\u0301",
        "漢字",
        "a b (1) [x] {y} #&%$@!~'`^+=,-_",
        "a..b",
    ):
        assert not oddities(plain), plain
    for name in ODD:
        assert oddities(name.decode()), name
