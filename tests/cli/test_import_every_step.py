"""An import that is broken off at each of its steps: there are whole files or none, and the next one completes it.

A step is a transaction with the phone, which fails in several ways, or a call to the disk here, which is full; or
before either the program is killed. With `--delete` each photo is here or on the phone, whatever happens.

In the everyday run a sample is tried, always the same one; `--all-steps` tries all.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from cli.files import Forker
from cli.imports import CAMERA, DATE, Imports, photo
from mtpfs.virtual.faults import Fault, FaultScript, Kind
from mtpfs.virtual.transport import VirtualTransport
from pictures import made

PHOTOS = {
    f"{CAMERA}/IMG_1.HEIC": made.heic("2025:03:31 23:59:59"),
    f"{CAMERA}/IMG_1.MOV": made.film(),
    f"{CAMERA}/VID_1.mp4": made.film(more=os.urandom(1 << 16) * 80),
    f"{CAMERA}/a.jpg": photo(1),
    "Pictures/a.jpg": photo(2),
}
WANTED = {
    "2025/03/IMG_1.HEIC": PHOTOS[f"{CAMERA}/IMG_1.HEIC"],
    "2025/03/IMG_1.MOV": PHOTOS[f"{CAMERA}/IMG_1.MOV"],
    "2025/01/VID_1.mp4": PHOTOS[f"{CAMERA}/VID_1.mp4"],
    "2025/01/a.jpg": photo(1),
    "2025/01/a~2.jpg": photo(2),
}
INTO = ("--into", "{taken:%Y/%m}")
DELETING = (*INTO, "--delete", "--yes")
FAULTS = {
    "gone": Fault(Kind.GONE),
    "refused": Fault(Kind.REFUSE),
    "failed": Fault(Kind.FAIL),
    "stalled": Fault(Kind.STALL),
    "gone-mid-data": Fault(Kind.GONE_MID_DATA, amount=64),
    "cut-off": Fault(Kind.TRUNCATED_DATA, amount=100),
    "silent": Fault(Kind.SILENCE),
}
_KILLING = """
import os, sys
import mtpfs.cli.main
from mtpfs.virtual.transport import VirtualTransport

def armed(words, real=mtpfs.cli.main.main, write=VirtualTransport.write):
    left = int(os.environ["KILL_AT"])
    def step():
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(9)
    def watch(event, arguments, places=(os.environ["HERE"], os.environ["XDG_STATE_HOME"])):
        if event in {"open", "os.link", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "os.listdir"}:
            if str(arguments[0]).startswith(places) or isinstance(arguments[0], int):
                step()
    def counted(self, data, timeout):
        step()
        return write(self, data, timeout)
    VirtualTransport.write = counted
    sys.addaudithook(watch)
    return real(words)

mtpfs.cli.main.main = armed
"""


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imports]:
    """A phone with photos. The session doesn't wait for an event at its end: there are hundreds of them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    real = VirtualTransport.read_event
    with patch.object(VirtualTransport, "read_event", lambda self, timeout: real(self, min(timeout, 0.01))):
        yield Imports(tmp_path / "phone", tmp_path / "here", f"virtual:{tmp_path}/phone?ghost=0")


def fresh(imports: Imports, number: int) -> None:
    """Have a phone with all photos, and nothing here."""
    for name, data in PHOTOS.items():
        imports.put(name, data)
    imports.here = imports.phone.with_name(f"here-{number}")
    imports.here.mkdir()
    os.environ["XDG_STATE_HOME"] = str(imports.phone.with_name(f"state-{number}"))


def imported(imports: Imports) -> dict[str, bytes]:
    """Return what is here, with the pair in March: if its photo came late, it has followed the film, to another month."""
    found = imports.imported()
    for name in found:
        assert (imports.target / name).stat().st_mtime == DATE, f"{name} has another date"
    pair = [name for name in found if "IMG_1" in name]
    assert len({name[:7] for name in pair}) < 2
    return {name.replace("2025/01/IMG_1", "2025/03/IMG_1"): data for name, data in found.items()}


def check(imports: Imports, words: tuple[str, ...], what: str) -> None:
    """Check what is there after something has gone wrong."""
    found, left = imported(imports), imports.on_phone()
    for name, data in found.items():
        assert data in PHOTOS.values(), f"{what}: {name} isn't whole"
        assert name.replace("~2", "") in WANTED, f"{what}: {name} is out of place"
    assert len(set(found.values())) == len(found), f"{what}: there are two of one"
    if words == DELETING:
        assert set(PHOTOS.values()) <= {*found.values(), *left.values()}, f"{what}: a photo is lost"
    else:
        assert left == PHOTOS, f"{what}: the phone was changed"


def complete(imports: Imports, words: tuple[str, ...], what: str) -> None:
    """Import again, without faults: everything is there then, once, and nothing else."""
    status, _, said = imports.here_and_now(*words)
    assert (status, said) == (0, ""), f"{what}: {said}"
    check(imports, words, what)
    found = imported(imports)
    assert set(found.values()) == set(WANTED.values()), what
    assert set(found) == set(WANTED), what
    assert not imports.parts(), what
    if words == DELETING:
        assert imports.on_phone() == {}, what


def numbers(request: pytest.FixtureRequest, stride: int) -> Iterator[int]:
    """Yield the numbers of steps: all of them, or one of `stride`."""
    number = 0
    while True:
        yield number
        number += 1 if request.config.getoption("--all-steps") else stride


def steps(
    request: pytest.FixtureRequest,
    imports: Imports,
    words: tuple[str, ...],
    stride: int,
    broken: Callable[[int], bool],
) -> int:
    """Break an import off at one step after the other, until there are no more; return how many were tried."""
    for tried, number in enumerate(numbers(request, stride)):
        fresh(imports, number)
        what = f"step {number}"
        if not broken(number):
            complete(imports, words, what)
            return tried
        check(imports, words, what)
        complete(imports, words, what)
    raise AssertionError("there is always another one")


@pytest.fixture(autouse=True)
def own_state() -> Iterator[None]:
    with patch.dict(os.environ):
        yield


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("words", [INTO, DELETING], ids=["import", "delete"])
def test_the_phone_fails(
    request: pytest.FixtureRequest, imports: Imports, words: tuple[str, ...], kind: str
) -> None:
    """Each transaction fails once, in each way."""
    fault = FAULTS[kind]

    def broken(number: int) -> bool:
        script = FaultScript(Fault(fault.kind, skip=number, amount=fault.amount))
        status, _, said = imports.here_and_now(*words, faults=script)
        assert status in {0, 1}
        assert said if status else "mtpfs import: " not in said, said  # what was tried again needs no word
        return bool(script.struck)

    stride = 3 if kind in {"gone", "refused"} else 7
    assert steps(request, imports, words, stride, broken) > 4 * 3 // stride


CALLS = ("pwrite", "write", "fsync", "link", "mkdir", "utime")


@pytest.mark.parametrize("words", [INTO, DELETING], ids=["import", "delete"])
def test_the_disk_is_full(
    request: pytest.FixtureRequest,
    imports: Imports,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    """Each call that changes something here fails once."""

    def broken(number: int) -> bool:
        left = number

        def failing(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal left
                # What the state directory is to the mount's dates is another matter.
                left -= not str(arguments[0]).startswith(os.environ["XDG_STATE_HOME"])
                if left == -1:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return real(*arguments, **named)

            return call

        with monkeypatch.context() as patched:
            for name in CALLS:
                patched.setattr(os, name, failing(getattr(os, name)))
            status, _, said = imports.here_and_now(*words)
        assert status == (left < 0), said
        assert ("No space left" in said) == (left < 0), said
        return left < 0

    assert steps(request, imports, words, 2, broken) > 10


def test_order_on_the_disk(imports: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss of power takes nothing: the file is synced, then named, then its directory is synced, then it is remembered."""
    fresh(imports, 0)
    seen: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            where = arguments[0]
            path = Path(f"/proc/self/fd/{where}").resolve() if isinstance(where, int) else Path(where)
            if path.is_relative_to(imports.here) or path.suffix == ".jsonl":
                kind = "directory" if path.is_dir() else "memory" if path.suffix == ".jsonl" else "file"
                seen.append(f"{name} {kind}")
            return real(*arguments, **named)

        return call

    (imports.target / "2025/01").mkdir(parents=True)
    for name in PHOTOS:
        if "VID_1" not in name:
            (imports.phone / name).unlink()
    for name in CALLS:
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    imports.here_and_now(*INTO)
    received = seen.index("utime file")
    assert set(seen[:received]) <= {"pwrite file", "mkdir file", "mkdir directory"}
    assert seen[received:] == [
        "utime file",
        "link file",  # from the part to the whole file, still hidden
        "fsync file",
        "link file",
        "fsync directory",
        "write memory",
    ]


@pytest.mark.parametrize("words", [INTO, DELETING], ids=["import", "delete"])
def test_killed(request: pytest.FixtureRequest, imports: Imports, words: tuple[str, ...]) -> None:
    """The program is killed before each transaction, and before each call that opens or changes something here."""
    forker = Forker(_KILLING)

    def broken(number: int) -> bool:
        environment = {**imports.environment, "KILL_AT": str(number), "HERE": str(imports.here)}
        result = forker.run(["import", *words, str(imports.target)], imports.here, environment, b"")
        assert result.returncode in {0, 9}, result.stderr
        return bool(result.returncode)

    try:
        assert steps(request, imports, words, 5, broken) > 10
    finally:
        forker.close()
