"""Cables that are pulled in the middle of everything, and put back: three phones, two kinds of bus."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from vm.phones import QemuPhone, UmtpPhone, VirtualUsbPhone

Phone = QemuPhone | UmtpPhone | VirtualUsbPhone
PROMPT = 10.0  # seconds in which a call has to answer after the cable is out: less than 1 on a real machine
LARGE = "large.bin"
CHUNK = 128 << 10


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


def test_hand(phone: Phone) -> None:
    phone.unplug()
    phone.plug_in()
