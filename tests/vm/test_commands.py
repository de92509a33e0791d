"""The commands that move files, over a real bus, with the cable pulled in between."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from vm.phones import PATIENCE, UmtpPhone, VirtualUsbPhone, port_of
from vm.program import Program, mtpfs_says

Phone = UmtpPhone | VirtualUsbPhone
COUNT, SIZE = 24, 192 << 10
OLD = b"what the first file was before"


@pytest.fixture(scope="module")
def phone(
    request: pytest.FixtureRequest, umtp_phones: list[UmtpPhone], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Phone]:
    """The kind that a test asks for."""
    if request.param == "umtp":
        yield umtp_phones[0]
    else:
        phone = VirtualUsbPhone(tmp_path_factory.mktemp("phone"), "commands")
        yield phone
        phone.end()


@pytest.fixture(autouse=True)
def _plugged_in_again(phone: Phone) -> Iterator[None]:
    """Leave the phone plugged in, also after a failure."""
    yield
    if port_of(phone.serial) is None:
        phone.plug_in()


def files(place: Path) -> dict[str, bytes]:
    """Return all files by their path, what is hidden left out."""
    found = {}
    for path in sorted(place.rglob("*")):
        if not path.name.startswith("."):
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # it has another name by now
                found[str(path.relative_to(place))] = path.read_bytes()
    return found


def make(place: Path) -> dict[str, bytes]:
    """Make files to be moved; return them."""
    place.mkdir(parents=True)
    for number in range(COUNT):
        path = place / f"IMG_20250102_0304{number:02}.jpg"
        path.write_bytes(os.urandom(SIZE))
        os.utime(path, (1_500_000_000, 1_500_000_000))
    return files(place)


@dataclass(frozen=True, slots=True)
class Move:
    """A command, and where what it moves comes from and goes to."""

    words: tuple[str, ...]
    source: Callable[[Path, Path], Path]
    """Given the phone's directory and one of this machine."""
    target: Callable[[Path, Path], Path]


MOVES = {
    "get": Move(("get", "-r", "phone:from/T", "HERE/"), lambda p, h: p / "from/T", lambda p, h: h / "T"),
    "put": Move(("put", "-r", "HERE/T", "phone:to/"), lambda p, h: h / "T", lambda p, h: p / "to/T"),
    "sync from": Move(("sync", "phone:from/T", "HERE"), lambda p, h: p / "from/T", lambda p, h: h / "T"),
    "sync to": Move(("sync", "HERE/T", "phone:to"), lambda p, h: h / "T", lambda p, h: p / "to/T"),
    "import": Move(("import", "HERE"), lambda p, h: p / "DCIM/T", lambda p, h: h / "DCIM/T"),
}


PHONES = {"get": "umtp", "put": "umtp", "sync from": "virtual", "sync to": "virtual", "import": "virtual"}
"""On which phone each is tried: an emulated machine takes half a minute for one."""


@pytest.mark.parametrize(
    ("phone", "move"),
    [pytest.param(phone, MOVES[move], id=f"{phone}-{move}") for move, phone in PHONES.items()],
    indirect=["phone"],
)
def test_pulled(phone: Phone, move: Move, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has its name is whole, or what it was; the same command goes on, and then there is nothing to do."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    is_import = move.words[0] == "import"
    prefix = "" if is_import else f"{tmp_path.name}/"  # an import looks where phones have pictures
    base, here = phone.directory / prefix, tmp_path / "here"
    for directory in (here, base / "from", base / "to", base / "DCIM"):
        directory.mkdir(parents=True)
    source, target = move.source(base, here), move.target(base, here)
    wanted = make(source)
    first = min(wanted)
    if not is_import:  # which never replaces anything
        target.mkdir(parents=True)
        (target / first).write_bytes(OLD)
    _again(phone)
    words = [word.replace("HERE", str(here)).replace("phone:", f"phone:{prefix}") for word in move.words]
    command = [*words, "--json", "--source", phone.source]

    program = Program(*command)
    deadline = time.monotonic() + PATIENCE
    while len(files(target) if target.exists() else {}) < 3 and program.poll() is None:
        assert time.monotonic() < deadline, "nothing is moved"
        time.sleep(0.01)
    assert program.poll() is None, program.communicate()
    phone.unplug()
    output, errors = program.communicate(PATIENCE)
    assert program.returncode == 1, (output, errors)
    assert "Traceback" not in errors
    there = files(target)
    odd = {name for name, data in there.items() if name in wanted and data != wanted[name]}
    if first in odd and not is_import:
        assert there[first] == OLD
        odd.remove(first)
    # The phone keeps what it has of the new file that was on the wire, and only it could delete that.
    assert len(odd) <= (target.is_relative_to(base))
    phone.plug_in()

    status, output, errors = mtpfs_says(*command)
    assert status == 0, errors
    moved = [json.loads(line) for line in output.splitlines()]
    done = [each for each in moved if each["status"] == "done" and each.get("action") != "summary"]
    assert 0 < len(done) < COUNT, "it has begun anew"
    found = files(target)
    assert {name: found[name] for name in wanted} == wanted
    assert [name for name in os.listdir(target) if "mtpfs" in name] == []

    status, output, errors = mtpfs_says(*command)
    assert status == 0, errors
    rest = [json.loads(line) for line in output.splitlines()]
    assert [each for each in rest if each["status"] == "done" and each.get("action") != "summary"] == []
    assert files(target) == found


def _again(phone: Phone) -> None:
    """Have the phone look at its directory anew: what was put there behind its back it may not see at once."""
    phone.unplug()
    phone.plug_in()
