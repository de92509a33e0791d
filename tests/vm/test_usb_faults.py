"""What goes wrong on a real bus, fault by fault: the virtual phone behind a gadget, misbehaving on demand."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vm.phones import Mount, VirtualUsbPhone, run, wait_until

SIZE = 300_000 + 212  # bytes; with the header a whole number of packets, so that zero-length packets matter
PATIENCE = 60.0  # seconds for an answer: the budgets (timeout=1) together, on an emulated machine

FORGIVEN = (
    "busy times=2",
    "stale-response",
    "split-header",
    "glued",
    "missing-zlp",
    "extra-zlp",
    "pad-byte",
    "zero-junk",
    "unknown-length",
    "wrong-data-header",
)
"""What other hosts put up with: nobody sees any of it."""
FATAL = (
    "stall",
    "stall-mid-data amount=100000",
    "silence",
    "silence-mid-data amount=100000",
    "silent-success",
    "truncated-data amount=5000",
    "overlong-data amount=700",
    "wrong-transaction amount=7",
    "garbage-header",
    "lying-length amount=1000",
    "refuse code=GeneralError",
    "fail code=GeneralError",
)
"""What costs the one call an error, or is got over; but nothing else, ever."""


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualUsbPhone]:
    directory = tmp_path_factory.mktemp("phone")
    (directory / "list").mkdir()
    for number in range(30):
        (directory / f"list/file {number}").write_bytes(bytes(number))
    for number in range(len(FORGIVEN) + len(FATAL)):
        (directory / f"read {number}").write_bytes(os.urandom(SIZE))
    phone = VirtualUsbPhone(directory, "faulty")
    yield phone
    phone.end()


@pytest.fixture(scope="module")
def root(phone: VirtualUsbPhone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    mount = Mount(phone.source, tmp_path_factory.mktemp("mount"), "-o", "timeout=1")
    yield mount.mountpoint / "Internal shared storage"
    mount.unmount()


def check(phone: VirtualUsbPhone, root: Path) -> None:
    """Whatever has happened, everything works now."""
    name = f"check {time.monotonic_ns()}"
    (root / name).write_bytes(name.encode())
    assert (phone.directory / name).read_text() == name
    assert (root / name).read_text() == name
    assert len(os.listdir(root / "list")) == 30


@pytest.mark.parametrize("number", range(len(FORGIVEN)), ids=lambda n: FORGIVEN[n])
def test_forgiven_while_reading(phone: VirtualUsbPhone, root: Path, number: int) -> None:
    """A phone that errs in a way that others put up with is read all the same."""
    kind, *words = FORGIVEN[number].split()
    phone.do(" ".join([kind, "GetPartialObject64", *words]))
    assert (root / f"read {number}").read_bytes() == (phone.directory / f"read {number}").read_bytes()
    check(phone, root)


@pytest.mark.parametrize("number", range(len(FATAL)), ids=lambda n: FATAL[n])
def test_fatal_while_reading(phone: VirtualUsbPhone, root: Path, number: int) -> None:
    """A read that fails says so in time, and the next one is right."""
    kind, *words = FATAL[number].split()
    name = f"read {len(FORGIVEN) + number}"
    expected = (phone.directory / name).read_bytes()
    phone.do(" ".join([kind, "GetPartialObject64", *words]))
    start = time.monotonic()
    failure = errno.EIO
    try:
        assert (root / name).read_bytes() == expected
    except OSError as error:
        failure = error.errno or 0
    assert failure == errno.EIO
    assert time.monotonic() - start < PATIENCE
    assert (root / name).read_bytes() == expected
    check(phone, root)


@pytest.mark.parametrize("fault", FATAL[::2])  # the same on the wire as while reading
def test_while_listing(phone: VirtualUsbPhone, root: Path, fault: str) -> None:
    """A listing is complete or an error, never a part."""
    directory = root / f"listed {time.monotonic_ns()}"
    (phone.directory / directory.name).mkdir()
    for number in range(40):
        (phone.directory / directory.name / str(number)).touch()
    wait_until(directory.exists, "the directory's appearance")
    kind, *words = fault.split()
    phone.do(" ".join([kind, "GetObjectPropList", *words]))
    start = time.monotonic()
    failure = errno.EIO
    try:
        assert len(os.listdir(directory)) == 40
    except OSError as error:
        failure = error.errno or 0
    assert failure == errno.EIO
    assert time.monotonic() - start < PATIENCE
    assert len(os.listdir(directory)) == 40
    check(phone, root)


@pytest.mark.parametrize(
    "fault",
    [
        "stall SendObject",
        "stall-mid-data SendObject amount=100000",
        "silence SendObject",
        "silence-mid-data SendObject amount=100000",
        "silent-success SendObject",
        "refuse SendObject code=GeneralError",
        "refuse-twice SendObject code=GeneralError",
        "fail SendObject code=StoreFull",
        "stall SendObjectInfo",
        "silent-success SendObjectInfo",
        "refuse SendObjectInfo code=StoreFull",
        "wrong-transaction SendObject amount=3",
        "stale-response SendObjectInfo",
        "busy SendObjectInfo times=2",
    ],
)
def test_while_writing(phone: VirtualUsbPhone, root: Path, fault: str) -> None:
    """A file that was written without an error is whole on the phone; one with an error can be written again."""
    data = os.urandom(SIZE)
    phone.do(fault)
    start = time.monotonic()
    failure = 0
    path = root / f"written {time.monotonic_ns()}"
    try:
        path.write_bytes(data)
    except OSError as error:
        failure = error.errno or 0
    assert time.monotonic() - start < PATIENCE
    if failure:
        assert failure == (errno.ENOSPC if "StoreFull" in fault else errno.EIO)
        assert not {"busy", "stale-response"} & set(fault.split())
        path = root / f"{path.name} again"  # Android keeps a name reserved whose upload broke off
        path.write_bytes(data)
    assert (phone.directory / path.name).read_bytes() == data
    check(phone, root)


def test_cancelled_copy(phone: VirtualUsbPhone, root: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle of an upload leaves a phone that works."""
    (tmp_path / "large").write_bytes(bytes(30 << 20))
    run("timeout", "-s", "INT", "1", "cp", tmp_path / "large", root / "large", check=False)
    check(phone, root)
