"""`mtpfs list`, `info` and `doctor` about a real phone on a real bus, in each of its states."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vm.phones import GADGETS, MTPFS, Mount, UmtpPhone, devices, run, wait_until
from vm.program import mtpfs_says

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
HOLD = """
import sys, time, usb.core, usb.util
device = usb.core.find(custom_match=lambda d: f"{d.bus:03}/{d.address:03}" == sys.argv[1])
usb.util.claim_interface(device, 0)
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def phone(umtp_phones: list[UmtpPhone]) -> UmtpPhone:
    return umtp_phones[1]


@pytest.fixture
def holder(phone: UmtpPhone) -> Iterator[subprocess.Popen[str]]:
    """A program that isn't ours and has claimed the phone."""
    place = "/".join(phone.node.parts[-2:])
    with subprocess.Popen([sys.executable, "-c", HOLD, place], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "held\n"
        yield program
        program.kill()


def doctor(phone: UmtpPhone) -> tuple[int, str]:
    status, findings, errors = mtpfs_says("doctor", phone.source)
    assert not errors
    return status, findings


def info(phone: UmtpPhone, *words: str) -> str:
    status, facts, errors = mtpfs_says("info", phone.source, *words)
    assert status == 0, errors
    return facts


def test_free_phone(phone: UmtpPhone) -> None:
    """A phone that is there for everybody is listed so, described, and no problem."""
    (listed,) = (device for device in devices() if device["serial"] == phone.serial)
    assert (listed["held_by"], listed["mounted_at"]) == ("", "")
    assert f"{listed['bus']:03}/{listed['address']:03}" in str(phone.node)
    facts = json.loads(info(phone, "--json"))
    assert facts["manufacturer"] == "Viveris Technologies"
    assert [storage["description"] for storage in facts["storages"]] == ["Internal"]
    status, findings = doctor(phone)
    assert status == 0
    assert "answers; its storages: Internal" in findings


def test_mounted_phone(phone: UmtpPhone, mountpoint: Path) -> None:
    """One that is mounted is listed with mountpoint and process; `info` asks the mount."""
    free = info(phone)
    mounted = Mount(phone.source, mountpoint)
    (listed,) = (device for device in devices() if device["serial"] == phone.serial)
    assert listed["mounted_at"] == str(mountpoint)
    assert listed["held_by"] == f"mtpfs (pid {mounted.process.pid})"
    assert info(phone).split("Storages")[0] == free.split("Storages")[0]
    status, findings = doctor(phone)
    assert status == 0
    assert f"is mounted on {mountpoint}" in findings
    mounted.unmount()


def test_held_phone(phone: UmtpPhone, holder: subprocess.Popen[str]) -> None:
    """Who holds the phone is named, with the number of his process."""
    status, findings = doctor(phone)
    assert status == 1
    assert f"(pid {holder.pid})" in findings
    assert f"kill {holder.pid}" in findings
    (listed,) = (device for device in devices() if device["serial"] == phone.serial)
    assert f"(pid {holder.pid})" in str(listed["held_by"])


def test_forbidden_phone(phone: UmtpPhone) -> None:
    """A node that the user may not open is named, with what gives him the right."""
    if run(*NOBODY, sys.executable, "-c", "import mtpfs", check=False).returncode:
        pytest.skip("mtpfs lies in a directory that other users can't enter")
    command = (*NOBODY, *MTPFS, "doctor", phone.source)
    phone.node.chmod(0o600)
    refused = run(*command, check=False)
    assert refused.returncode == 1
    assert f"no permission to open Viveris Phone ({phone.node})" in refused.stdout
    phone.node.chmod(0o666)
    run(*command)


def test_locked_phone(phone: UmtpPhone, mountpoint: Path) -> None:
    """A locked phone is said to be locked; a mount works all the same, and fills when it is unlocked."""
    mounted = Mount(phone.source, mountpoint)
    phone.lock()  # only while a session is open: without one, uMTP-Responder dies of it
    mounted.unmount()
    status, findings = doctor(phone)
    mounted = Mount(phone.source, mountpoint)
    phone.unlock()
    mounted.unmount()
    assert status == 0
    assert "unlock it" in findings
    assert "be empty until the phone is unlocked" in findings
    assert "unlock it" not in doctor(phone)[1]


def test_charging_phone(phone: UmtpPhone) -> None:
    """A phone on the bus that offers something else than files is told what to choose."""
    phone.unplug()
    gadget = GADGETS / "charging"
    function, configuration = gadget / "functions/ecm.0", gadget / "configs/c.1"
    strings = gadget / "strings/0x409"
    for directory in (strings, function, configuration):
        directory.mkdir(parents=True)
    (gadget / "idVendor").write_text("0x18d1")
    (gadget / "idProduct").write_text("0x4ee3")
    (strings / "product").write_text("Pixel 7")
    (configuration / function.name).symlink_to(function)
    (gadget / "UDC").write_text(phone.controller)
    try:
        wait_until(
            lambda: "Pixel 7 (18d1:4ee3) is connected for tethering" in doctor(phone)[1], "the finding"
        )
        assert doctor(phone)[0] == 1
    finally:
        (gadget / "UDC").write_text("\n")
        (configuration / function.name).unlink()
        for directory in (configuration, function, strings, gadget):
            directory.rmdir()
        phone.plug_in()
    assert doctor(phone)[0] == 0
