"""The program that udev calls for a new mount: it raises the kernel's read-ahead, of mounts of mtpfs and no others."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from install.conftest import TOP, Machine
from mount.conftest import HAS_FUSE, PATIENCE, run, virtual_mount, wait_until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may set it"),
    pytest.mark.skipif(not HAS_FUSE, reason="no /dev/fuse or no fusermount3"),
]
PROGRAM = TOP / "contrib/udev/mtpfs-readahead"
SMALL, LARGE = "128", "1024"


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    """Return a phone's directory and a mountpoint."""
    for name in ("phone", "mount"):
        (tmp_path / name).mkdir()
    return tmp_path / "phone", tmp_path / "mount"


def number_of(mountpoint: Path) -> str:
    """Return MAJOR:MINOR of what is mounted."""
    number = mountpoint.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def setting_of(number: str) -> Path:
    return Path(f"/sys/class/bdi/{number}/read_ahead_kb")


def test_raised(directories: tuple[Path, Path]) -> None:
    """It is raised, and raised again if the kernel takes it back; then the program ends."""
    with virtual_mount(*directories):
        number = number_of(directories[1])
        setting = setting_of(number)
        wait_until(lambda: setting.read_text().strip() == LARGE, "the mount's own raising")
        setting.write_text(SMALL)  # as it is for an ordinary user
        with subprocess.Popen([PROGRAM, number]) as program:
            for _ in range(2):
                wait_until(lambda: setting.read_text().strip() == LARGE, "raising it")
                setting.write_text(SMALL)
            assert program.wait(PATIENCE) == 0
        assert setting.read_text().strip() == LARGE


def test_others_are_left_alone(directories: tuple[Path, Path]) -> None:
    """A mount of another type, one that can't be seen, a number without a mount: nothing is set, and it ends."""
    with virtual_mount(*directories, "", "-o", "subtype=other"):
        number = number_of(directories[1])
        setting = setting_of(number)
        wait_until(lambda: setting.read_text().strip() == LARGE, "the mount's own raising")
        setting.write_text(SMALL)
        started = time.monotonic()
        run(PROGRAM, number)
        assert time.monotonic() - started < 1  # udev isn't kept waiting
        run("unshare", "--mount", "sh", "-c", f"umount --lazy {directories[1]}; exec {PROGRAM} {number}")
        assert setting.read_text().strip() == SMALL
    run(PROGRAM, "0:99999999")


def test_larger_stays(directories: tuple[Path, Path]) -> None:
    """What an administrator has set higher isn't lowered."""
    with virtual_mount(*directories):
        setting = setting_of(number_of(directories[1]))
        wait_until(lambda: setting.read_text().strip() == LARGE, "the mount's own raising")
        setting.write_text("4096")
        run(PROGRAM, number_of(directories[1]))
        assert setting.read_text().strip() == "4096"


def test_rule_names_the_program(built: None, tmp_path: Path) -> None:
    """What is installed calls what is installed."""
    words = ("env", f"PREFIX={tmp_path}/prefix", f"SBINDIR={tmp_path}/sbin")
    run(*words, TOP / "contrib/install", "install")
    rule = (tmp_path / "prefix/lib/udev/rules.d/72-mtpfs-readahead.rules").read_text()
    (program,) = re.findall(r'RUN\+="(\S+) %k"', rule)
    assert os.access(program, os.X_OK)
    assert Path(program).is_relative_to(tmp_path)


def test_rule_applies(machine: Machine, directories: tuple[Path, Path]) -> None:
    """udev would call the program for a mount's device, and not for a disk's."""
    with virtual_mount(*directories):
        number = number_of(directories[1])
        disk = next((path.name for path in Path("/sys/class/bdi").iterdir() if path.name[:2] != "0:"), number)
        output = machine(
            f"""
            mkdir -p /run/udev/rules.d
            sed 's|@LIBEXEC@|/libexec|' {TOP}/contrib/udev/72-mtpfs-readahead.rules > /run/udev/rules.d/72-mtpfs-readahead.rules
            udevadm test --action=add /sys/devices/virtual/bdi/{number} 2>&1
            udevadm test --action=add /sys/devices/virtual/bdi/{disk} 2>&1
            """
        )
    assert f"/libexec/mtpfs-readahead {number}" in output
    assert disk == number or f"/libexec/mtpfs-readahead {disk}" not in output
