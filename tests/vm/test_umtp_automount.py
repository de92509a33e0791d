"""What happens when a phone is plugged in: udev's rules about a real device, and the mount that they start."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vm.phones import MTPFS, PATIENCE, UmtpPhone, devices, run, wait_until

RULES = Path("/run/udev/rules.d")
CONTRIB = Path(__file__).parents[2] / "contrib/udev"
PRETEND = 'ATTR{serial}=="00001", ENV{ID_MTP_DEVICE}="1", ENV{ID_MEDIA_PLAYER}="1", ENV{ID_GPHOTO2}="1"\n'
"""What libmtp's and libgphoto2's rules would say of the second phone."""


@pytest.fixture(autouse=True)
def rules() -> Iterator[None]:
    """Have our rules, and those of others that they build on, in force."""
    existed = RULES.exists()
    RULES.mkdir(parents=True, exist_ok=True)
    names = [shutil.copy(rule, RULES) for rule in CONTRIB.glob("*.rules")]
    names.append(str(RULES / "69-pretend.rules"))
    Path(names[-1]).write_text(PRETEND)
    yield
    for name in names:
        Path(name).unlink()
    if not existed:
        RULES.rmdir()


def properties(phone: UmtpPhone, action: str = "add") -> dict[str, str]:
    """Return what udev makes of the device."""
    lines = run("udevadm", "test", f"--action={action}", phone.sysfs).stdout.splitlines()
    return dict(line.split("=", maxsplit=1) for line in lines if "=" in line)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("action", ["add", "bind", "change"])
def test_unit_is_wanted(umtp_phones: list[UmtpPhone], number: int, action: str) -> None:
    """A phone is known to systemd and wants the unit, whether libmtp knows it or only its interface tells."""
    found = properties(umtp_phones[number], action)
    assert found["SYSTEMD_USER_WANTS"] == "mtpfs@.service"
    assert {"systemd", "uaccess"} <= set(found["TAGS"].split(":"))


def test_other_devices_want_nothing() -> None:
    """A hub is left alone."""
    said = run("udevadm", "test", "--action=add", Path("/sys/bus/usb/devices/usb1").resolve()).stdout
    assert "SYSTEMD_USER_WANTS" not in said


def test_gvfs_sees_nothing(umtp_phones: list[UmtpPhone]) -> None:
    """What gvfs looks for is gone, what permissions come from is there."""
    found = properties(umtp_phones[1])
    assert not found.get("ID_MTP_DEVICE")
    assert not found.get("ID_GPHOTO2")
    assert found["ID_MEDIA_PLAYER"] == "1"


def test_mount_by_sysfs(umtp_phones: list[UmtpPhone], tmp_path: Path) -> None:
    """The path that systemd fills in mounts this phone, under its name; pulled out, it leaves no directory."""
    phone = umtp_phones[1]
    with subprocess.Popen(
        [*MTPFS, "-f", "--in", tmp_path / "Phones", phone.sysfs],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            mountpoint = Path(process.stdout.readline().rstrip("\n"))
            assert mountpoint.name.endswith(f"-{phone.serial}")
            assert len(os.listdir(mountpoint / "Internal/files")) == 500
            (listed,) = [device for device in devices() if device["serial"] == phone.serial]
            assert listed["mounted_at"] == str(mountpoint)
            phone.unplug()
            process.terminate()  # what BindsTo= makes of it
            process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
            assert os.listdir(tmp_path / "Phones") == []
        finally:
            process.kill()
            phone.plug_in()
    wait_until(lambda: phone.serial in {device["serial"] for device in devices()}, "the phone's return")
