"""What an import remembers: after a kill, with a file that is broken, and with a second import at the same time."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.imports import CAMERA, Imports, photo, statuses
from mtpfs.cli.importing.memory import Memory, Record, remembered
from mtpfs.cli.phones import Phone

KEY = ("/s/DCIM/a.jpg", 3, 1_500_000_000)
ODD = ("/s/\udcff\n\u2028.jpg", 1 << 40, None)


class Named:
    """As much of a phone as a memory asks for."""

    name = "Phone"

    def __init__(self, serial: str = "1") -> None:
        self.serial = serial


def phone(serial: str = "1") -> Phone:
    return Named(serial)  # type: ignore[return-value]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/mtpfs"


def only(place: Path) -> Path:
    (file,) = place.iterdir()
    return file


def test_it_is_kept(place: Path) -> None:
    """For each phone by path, size and date; in a file for its owner alone, which tells nothing of the phone by its name."""
    with remembered(phone("SERIAL"), to_write=True) as memory:
        memory.add(KEY, Record("/home/a.jpg", "hash"))
        memory.add(ODD, Record(""))
        memory.add(KEY, Record("/home/b.jpg", "hash"))
    with remembered(phone("SERIAL"), to_write=True) as memory:
        assert memory.trouble == ""
        assert (memory.get(KEY), memory.get(ODD)) == (Record("/home/b.jpg", "hash"), Record(""))
        for other in ((KEY[0], 4, KEY[2]), (KEY[0], 3, None), ("/s/b", 3, KEY[2])):
            assert memory.get(other) is None
    assert stat.S_IMODE(only(place).stat().st_mode) == 0o600
    assert "SERIAL" not in only(place).name
    with remembered(phone("OTHER"), to_write=True) as memory:
        assert len(memory) == 0


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_any_bytes(place: Path, data: bytes) -> None:
    """Whatever is in the file: what can be read counts, and what is added is there the next time."""
    with remembered(phone(), to_write=True) as memory:
        memory.add(KEY, Record("before"))
    file = only(place)
    whole = file.read_bytes()
    file.write_bytes(whole + data)
    with remembered(phone(), to_write=True) as memory:
        assert memory.get(KEY) == Record("before")
        memory.add(ODD, Record("after"))
    with remembered(phone(), to_write=False) as memory:
        assert (memory.get(KEY), memory.get(ODD)) == (Record("before"), Record("after"))
    file.write_bytes(b"")


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 50_000,
        b'{"path": 1}',
        b'{"path": "/s/DCIM/a.jpg", "size": "3", "date": 1500000000, "file": "x", "sha256": ""}',
        b'{"path": "/s/DCIM/a.jpg", "size": 3, "date": 1500000000, "file": null, "sha256": ""}',
        b'{"path": "/s/DCIM/a.jpg", "size": 3, "date": 15000',
        b"9" * 100_000,
        b"\xff\xfe\0",
        b"null",
    ],
)
def test_lines_that_are_none(place: Path, line: bytes) -> None:
    with remembered(phone(), to_write=True):
        pass
    only(place).write_bytes(line)
    with remembered(phone(), to_write=True) as memory:
        assert len(memory) == 0
        memory.add(KEY, Record("x"))
    with remembered(phone(), to_write=True) as memory:
        assert memory.get(KEY) == Record("x")


def test_every_end(place: Path) -> None:
    """Cut off anywhere, as a kill may do: all lines but the last one are there, and the next one is whole."""
    with remembered(phone(), to_write=True) as memory:
        memory.add(KEY, Record("first"))
        first = only(place).stat().st_size
        memory.add(ODD, Record("second"))
    whole = only(place).read_bytes()
    for end in range(first, len(whole)):
        only(place).write_bytes(whole[:end])
        with remembered(phone(), to_write=True) as memory:
            # A line of which only the end is missing is whole.
            assert memory.get(ODD) in {None, Record("second")}
            memory.add(("/s/new", 1, 1), Record("third"))
        with remembered(phone(), to_write=True) as memory:
            assert memory.get(KEY) == Record("first")
            assert memory.get(("/s/new", 1, 1)) == Record("third")


def test_a_second_import(place: Path) -> None:
    """Only one import of a phone at a time; another phone's isn't disturbed, and a rehearsal may look on."""
    with remembered(phone(), to_write=True) as memory:
        with (
            pytest.raises(OSError, match="another import of this phone") as caught,
            remembered(phone(), to_write=True),
        ):
            pass
        assert caught.value.errno == errno.EBUSY
        memory.add(KEY, Record("x"))
        with remembered(phone(), to_write=False) as looking:
            assert looking.get(KEY) == Record("x")
        with remembered(phone("2"), to_write=True):
            pass
    with remembered(phone(), to_write=True) as memory:
        assert len(memory) == 1


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Imports:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = Imports(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")
    found.here.mkdir()
    for number in range(3):
        found.put(f"{CAMERA}/{number}.jpg", photo(number))
    return found


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


def make_link(file: Path) -> None:
    file.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [Path.mkdir, make_pipe, make_link])
def test_no_memory(imports: Imports, tmp_path: Path, make: object) -> None:
    """Without a memory everything is imported, it is told, and what is here is recognised the next time."""
    imports.run("import", "--dry-run", imports.target)
    file = only(tmp_path / "state/mtpfs")
    file.unlink()
    assert callable(make)
    make(file)
    for wanted in ({"done": 3}, {"skipped": 3}):
        result = imports.run("import", "--json", imports.target, status=1)
        assert statuses([json.loads(line) for line in result.stdout.splitlines()]) == wanted
        assert "what is imported can't be remembered: " in result.stderr
    assert len(imports.imported()) == 3


def test_a_disk_that_is_full(imports: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory that can't be written costs no photo, and the next import recognises what is here."""
    real, torn = os.write, b'{"path": "/In'

    def full(descriptor: int, data: bytes) -> int:
        if bytes(data[:6]) == torn[:6]:
            real(descriptor, torn)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    status, out, said = imports.here_and_now("--delete", "--yes")
    monkeypatch.undo()
    assert status == 1
    assert "can't be remembered: No space left on device" in said
    assert "3 files imported" in out
    assert len(imports.imported()) == 3
    assert imports.on_phone() == {}


def test_the_lock_is_the_imports(imports: Imports, tmp_path: Path) -> None:
    """A second import of the same phone says so, with status 1, and does nothing."""
    imports.run("import", "--dry-run", imports.target)
    descriptor = os.open(only(tmp_path / "state/mtpfs"), os.O_RDWR)
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)
        result = imports.run("import", imports.target, status=1)
        assert "another import of this phone is running" in result.stderr
        assert imports.imported() == {}
        imports.run("import", "--dry-run", imports.target)
    finally:
        os.close(descriptor)
    imports.run("import", imports.target)


def test_a_memory_without_a_file() -> None:
    """It lasts for one import."""
    memory = Memory(-1, "no home")
    memory.add(KEY, Record("x"))
    assert (memory.get(KEY), memory.trouble) == (Record("x"), "no home")
