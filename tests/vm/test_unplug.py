"""Cables that are pulled in the middle of everything, and put back: three phones, on two kinds of bus."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vm.phones import PATIENCE, Mount, QemuPhone, UmtpPhone, VirtualUsbPhone, port_of, wait_until

Phone = QemuPhone | UmtpPhone | VirtualUsbPhone
PROMPT = (
    10.0  # seconds in which everybody is answered after the cable is out: on a real machine it is less than 1
)
LARGE = "large.bin"
CHUNK = 128 << 10
AWAY_DATA, NEVER = b"written while away" * 6, b"never delivered" * 6
AWAY = {errno.ENODEV, errno.EIO}
"""EIO for the call that was on the wire: what happens to it may be a stall before it is a departure."""


@pytest.fixture(scope="module", params=["qemu", "umtp", "virtual"])
def phone(
    request: pytest.FixtureRequest, umtp_phones: list[UmtpPhone], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Phone]:
    """Each kind of phone, with a large file and a directory of 500."""
    if request.param == "qemu":
        yield QemuPhone()
    elif request.param == "umtp":
        yield umtp_phones[0]
    else:
        directory = tmp_path_factory.mktemp("phone")
        (directory / LARGE).write_bytes(os.urandom(32 << 20))
        (directory / "files").mkdir()
        for number in range(1, 501):
            (directory / f"files/file {number}.txt").write_bytes(b"x" * number)
        phone = VirtualUsbPhone(directory, "pulled")
        yield phone
        phone.end()


@pytest.fixture(scope="module")
def mount(phone: Phone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    """One mount of the phone, which outlives all that is done to it."""
    mounted = Mount(phone.source, tmp_path_factory.mktemp("mount"), "-o", "timeout=5")
    yield mounted
    if mounted.process.poll() is None:
        mounted.unmount()


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Where a mount of the test's own keeps what the phone hasn't got."""
    path = tmp_path / "spool"
    path.mkdir()
    return path


@pytest.fixture
def own_mount(phone: Phone, mount: Mount, tmp_path: Path, spool: Path) -> Iterator[Mount]:
    """A mount that the test may end, in the place of the common one: tests with it come last."""
    if mount.process.poll() is None:
        mount.unmount()
    mountpoint = tmp_path / "mount"
    mountpoint.mkdir()
    mounted = Mount(phone.source, mountpoint, "-o", "timeout=5", spool=spool)
    yield mounted
    if mounted.process.poll() is None:
        mounted.unmount()


@pytest.fixture(autouse=True)
def _plugged_in_again(phone: Phone) -> Iterator[None]:
    """Leave the phone plugged in, also after a failure."""
    yield
    if port_of(phone.serial) is None:
        phone.plug_in()


only_virtual = pytest.mark.parametrize("phone", ["virtual"], indirect=True)
"""For what is the same whatever is unplugged."""


def storage(mount: Mount) -> Path:
    (path,) = mount.mountpoint.iterdir()
    return path


def transactions(mount: Mount) -> int:
    """Return how many there were so far; asks the mount, not the phone."""
    statistics = json.loads((mount.mountpoint / ".mtpfs-statistics").read_bytes())
    count: int = statistics["session"]["transactions"]
    return count


class Call(threading.Thread):
    """A call that may hang, beside the test: its result or its errno, and when it came."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.errno = 0
        self.result: Any = None
        self.ended = 0.0
        self._function = function
        self.start()

    def run(self) -> None:
        try:
            self.result = self._function()
        except OSError as error:
            self.errno = error.errno or 0
        self.ended = time.monotonic()

    def outcome(self) -> int:
        """Wait for the end; return the errno."""
        self.join(PATIENCE)
        assert not self.is_alive(), "it hangs"
        return self.errno

    def expect(self, errors: set[int], since: float) -> None:
        """Insist on one of these errors, in time."""
        assert self.outcome() in errors
        assert self.ended - since < PROMPT


def succeeds(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError:
        return False
    return True


def pull(phone: Phone) -> float:
    """Unplug; return when that was."""
    before = time.monotonic()
    phone.unplug()
    return before


def check_away(mount: Mount, root: Path) -> None:
    """Nothing hangs and nothing lies while the phone is away, from the moment on when that is noticed."""
    pulled = time.monotonic()
    while (listing := Call(partial(os.listdir, root))).outcome() != errno.ENODEV:
        assert time.monotonic() - pulled < PROMPT, f"{listing.result} is listed"
    for attempt in (
        lambda: os.listdir(root),
        (root / "files/file 9.txt").read_bytes,
        (root / "new directory").mkdir,
        lambda: os.truncate(root / LARGE, 5),
    ):
        before = time.monotonic()
        Call(attempt).expect({errno.ENODEV}, before)
    assert mount.process.poll() is None


def check_back(phone: Phone, mount: Mount, root: Path) -> None:
    """Everything works by itself, some time after the phone is there again."""
    name = "files/file 7.txt"
    wait_until(partial(succeeds, (root / name).read_bytes), "the mount's recovery")
    assert (root / name).read_bytes() == (phone.directory / name).read_bytes()
    assert mount.process.poll() is None


def inodes(root: Path) -> list[int]:
    return [path.stat().st_ino for path in (root, root / "files", root / "files/file 7.txt", root / LARGE)]


def test_pulled_while_reading(phone: Phone, mount: Mount) -> None:
    """A reader hears of it, and with the same descriptor reads on when the phone is back: every byte is right."""
    root = storage(mount)
    numbers = inodes(root)
    with (root / LARGE).open("rb", buffering=0) as stream, (phone.directory / LARGE).open("rb") as expected:
        under_way = threading.Event()

        def read() -> None:
            while piece := stream.read(CHUNK):
                assert piece == expected.read(len(piece))
                if stream.tell() > 2 << 20:
                    under_way.set()

        reader = Call(read)
        assert under_way.wait(PATIENCE)
        since = pull(phone)
        reader.expect(AWAY, since)
        check_away(mount, root)
        phone.plug_in()
        check_back(phone, mount, root)
        position = stream.tell()
        assert 2 << 20 < position < (phone.directory / LARGE).stat().st_size
        for _ in range(40):
            assert stream.read(CHUNK) == expected.read(CHUNK)
        assert inodes(root) == numbers


def test_pulled_while_writing(phone: Phone, mount: Mount) -> None:
    """The writer hears of it in close, and the file arrives nevertheless when the phone is back."""
    if isinstance(phone, QemuPhone):
        pytest.skip("QEMU ends itself when an upload breaks off")
    root, name = storage(mount), f"cut off {time.monotonic_ns()}"
    data = os.urandom((24 << 20) + 100)
    known = set(phone.directory.iterdir())

    def arrived() -> int:
        return sum(path.stat().st_size for path in set(phone.directory.iterdir()) - known)

    writer = Call(lambda: (root / name).write_bytes(data))
    wait_until(lambda: arrived() > 0, "the upload")
    since = pull(phone)
    writer.expect(AWAY, since)
    assert arrived() < len(data)
    check_away(mount, root)
    phone.plug_in()
    check_back(phone, mount, root)
    wait_until(lambda: (phone.directory / name).exists() and arrived() == len(data), "the delivery")
    assert (phone.directory / name).read_bytes() == data
    assert (root / name).stat().st_size == len(data)


def test_pulled_while_listing(phone: Phone, mount: Mount) -> None:
    """A listing fails or is whole; the next one is whole."""
    root = storage(mount)
    phone.unplug()  # what was listed before isn't believed after that
    phone.plug_in()
    wait_until(partial(succeeds, partial(os.listdir, root)), "the mount's recovery")
    before = transactions(mount)
    if isinstance(phone, VirtualUsbPhone):
        phone.do("late GetObjectPropList amount=1500")
        lister = Call(lambda: os.listdir(root / "files"))
        phone.do("struck")
    else:
        lister = Call(lambda: os.listdir(root / "files"))
        wait_until(lambda: transactions(mount) > before + 2, "the listing")
    since = pull(phone)
    there = set(os.listdir(phone.directory / "files"))
    if isinstance(phone, VirtualUsbPhone) or lister.outcome():
        lister.expect(AWAY, since)
    else:  # nothing holds this phone, so the listing may be over
        assert lister.result
        assert set(lister.result) == there
    phone.plug_in()
    check_back(phone, mount, root)
    assert set(os.listdir(root / "files")) == there


@only_virtual
def test_written_while_away(phone: Phone, own_mount: Mount, spool: Path) -> None:
    """A file that was open goes on being written, and is delivered; what isn't when the mount ends is put aside."""
    root = storage(own_mount)
    first, second = (f"{count} {time.monotonic_ns()}" for count in ("first", "second"))
    stream = (root / first).open("wb", buffering=0)
    phone.unplug()
    assert stream.write(AWAY_DATA) == len(AWAY_DATA)
    before = time.monotonic()
    Call(stream.close).expect({errno.ENODEV}, before)
    phone.plug_in()
    wait_until((phone.directory / first).exists, "the delivery")
    check_back(phone, own_mount, root)
    assert (phone.directory / first).read_bytes() == AWAY_DATA
    stream = (root / second).open("wb", buffering=0)
    phone.unplug()
    stream.write(NEVER)
    Call(stream.close).expect({errno.ENODEV}, time.monotonic())
    log = own_mount.unmount()
    (rescued,) = (path for path in spool.rglob("*") if path.is_file())
    assert rescued.name == second
    assert rescued.read_bytes() == NEVER
    assert str(rescued) in log
    assert spool / f"mtpfs-recovered-{os.getuid()}" in rescued.parents


@only_virtual
def test_unmounted_while_away(phone: Phone, own_mount: Mount) -> None:
    """umount works, in time, while the phone is away and somebody is waiting."""
    root = storage(own_mount)
    reader = Call((root / LARGE).read_bytes)
    phone.unplug()
    since = time.monotonic()
    reader.expect(AWAY, since)
    own_mount.unmount()
    assert time.monotonic() - since < 2 * PROMPT


@only_virtual
def test_exit_on_unplug(phone: Phone, own_mount: Mount) -> None:
    """With exit_on_unplug the mount ends by itself."""
    own_mount.unmount()
    mountpoint = own_mount.mountpoint
    mounted = Mount(phone.source, mountpoint, "-o", "exit_on_unplug")
    phone.unplug()
    assert mounted.process.wait(PATIENCE) == 0
    assert not mountpoint.is_mount()
    mounted.process.communicate()
