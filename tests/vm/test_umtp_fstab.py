"""mount(8) with lines of fstab.example on real phones: by serial number, and as an ordinary user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vm.phones import UmtpPhone, VirtualUsbPhone, run, wait_until

TOP = Path(__file__).parents[2]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
HELPER = Path(sys.executable).parent / "mount.mtpfs"


@pytest.fixture(scope="module", autouse=True)
def helper() -> Iterator[None]:
    """Put the helper where mount(8) looks; the machine is one of our own."""
    link = Path("/sbin/mount.mtpfs")
    link.unlink(missing_ok=True)  # that of the machine outside, which stays there
    link.symlink_to(HELPER)
    yield
    link.unlink()


def lines(word: str) -> list[list[str]]:
    """Return the fields of fstab.example's lines with `word` in them."""
    found = [line.split() for line in (TOP / "fstab.example").read_text().splitlines() if line[:1] != "#"]
    return [fields for fields in found if fields and word in " ".join(fields)]


def test_two_phones_by_serial(umtp_phones: list[UmtpPhone]) -> None:
    """The example's lines for two phones mount each on its own place."""
    examples = lines("serial:")
    assert len(examples) == len(umtp_phones)
    with Path("/etc/fstab").open("w") as fstab:
        for fields, phone in zip(examples, umtp_phones, strict=True):
            print(phone.source, *fields[1:], file=fstab)
    for fields, phone in zip(examples, umtp_phones, strict=True):
        target = Path(fields[1])
        target.mkdir()
        (phone.directory / "serial").write_text(phone.serial)
        run("mount", target)
        assert run("findmnt", "-n", "-o", "SOURCE", target).stdout.strip() == phone.source
    for fields, phone in zip(examples, umtp_phones, strict=True):
        file = Path(fields[1]) / "Internal/serial"
        assert file.read_text() == phone.serial
        assert file.stat().st_uid == 1000
        run("umount", fields[1])
        wait_until(lambda target=fields[1]: not os.path.ismount(target), "the unmount")  # type: ignore[misc]


def test_user_line(umtp_phones: list[UmtpPhone]) -> None:
    """The example's line for users lets an ordinary user mount the phone that he may open, and unmount it."""
    if run(*NOBODY, sys.executable, "-c", "import mtpfs", check=False).returncode:
        pytest.skip("mtpfs lies in a directory that other users can't enter")
    ((_, _, *rest),) = lines("user")
    phone, target = umtp_phones[0], Path("/run/phone of nobody")
    target.mkdir()
    os.chown(target, 65534, 65534)
    written = str(target).replace(" ", "\\040")
    Path("/etc/fstab").write_text(f"{phone.source} {written} {' '.join(rest)}\n")
    phone.node.chmod(0o600)
    refused = run(*NOBODY, "mount", target, check=False)
    assert refused.returncode == 32
    assert "no permission" in refused.stderr
    phone.node.chmod(0o666)
    run(*NOBODY, "mount", target)
    assert run(*NOBODY, "ls", target).stdout == "Internal\n"
    run(*NOBODY, "umount", target)
    wait_until(lambda: not os.path.ismount(target), "the unmount")


def test_interrupted_mount(umtp_phones: list[UmtpPhone], tmp_path: Path) -> None:
    """Ctrl-C while a phone doesn't answer: status 8, nothing mounted, and the phone can be mounted afterwards."""
    umtp_phones[1].unplug()
    phone = VirtualUsbPhone(tmp_path, "slow")
    target = Path("/run/slow")
    target.mkdir()
    try:
        phone.do("silence OpenSession")
        program = subprocess.Popen([HELPER, phone.source, target, "-o", "rw"], stdin=subprocess.DEVNULL)
        phone.do("struck")
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == 8
        assert not target.is_mount()
        run(HELPER, phone.source, target, "-o", "rw")
        run("umount", target)
    finally:
        phone.end()
        umtp_phones[1].plug_in()
