"""`mtpfs doctor` and `mtpfs info`, each with the condition really produced.

What belongs to the whole machine (/dev, /etc, /sys, libraries) is changed in a
private mount namespace, which ends with the program that runs in it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipment.conversation import conversation
from mount.conftest import MTPFS, run, virtual_mount, wait_until

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/fuse").exists(), reason="needs root and FUSE"
)

NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
NO_PHONE = "mount -t tmpfs none /sys/bus; mkdir -p /sys/bus/usb/devices"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def phone(place: Path) -> str:
    directory = place / "phone"
    directory.mkdir()
    return f"virtual:{directory}"


@pytest.fixture
def mountpoint(place: Path) -> Path:
    directory = place / "mountpoint"
    directory.mkdir()
    return directory


@pytest.fixture
def mounted(phone: str, mountpoint: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = subprocess.Popen([*MTPFS, phone, mountpoint, "-f"], stdin=subprocess.DEVNULL)
    wait_until(lambda: os.path.ismount(mountpoint), "the mount")
    yield program
    run("fusermount3", "-u", "-z", mountpoint, check=False)
    program.wait(20)


def as_nobody() -> list[str]:
    """Return what makes a command an ordinary user's, who can't enter root's directories."""
    # The program needs nothing but its own code there.
    if run(*NOBODY.split(), sys.executable, "-c", "import mtpfs", check=False).returncode:
        pytest.skip("mtpfs lies in a directory that other users can't enter")
    return NOBODY.split()


def doctor(*words: str | Path, conditions: str = "true", user: bool = False) -> tuple[int, str]:
    """Run doctor under conditions made by shell commands, as nobody if `user`; return status and findings."""
    command = shlex.join([*MTPFS, "doctor", *map(str, words)])
    if user:
        command = f"{shlex.join(as_nobody())} {command}"
    result = run("unshare", "-m", "sh", "-c", f"set -e; {conditions}; exec {command}", check=False)
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, result.stdout + result.stderr


def problems(findings: str) -> str:
    return "\n".join(line for line in findings.splitlines() if line.startswith("problem "))


def test_healthy(phone: str, mountpoint: Path) -> None:
    """With nothing wrong there is no problem, and the storages are named."""
    status, findings = doctor(phone, mountpoint)
    assert status == 0
    assert not problems(findings)
    assert "Internal shared storage" in findings
    assert f"{mountpoint} can be mounted on" in findings
    assert f"files go into a storage, such as '{mountpoint}/Internal shared storage'" in findings
    assert findings.endswith("A mount would work.\n")


def test_order(mountpoint: Path) -> None:
    """Problems come first, and what is only worth knowing last."""
    (mountpoint / "file").touch()
    _, findings = doctor("virtual:/none", mountpoint)
    levels = [line.split()[0] for line in findings.splitlines() if line and line[0].islower()]
    assert set(levels) == {"problem", "ok", "note"}
    assert levels == sorted(levels, key=["problem", "ok", "note"].index)


@pytest.mark.parametrize("installed", [False, True])
def test_read_ahead(place: Path, phone: str, installed: bool) -> None:
    """An ordinary user is told when udev isn't told to raise the read-ahead of new mounts."""
    rules = place / "udev/rules.d"
    rules.mkdir(parents=True)
    if installed:
        (rules / "72-mtpfs-readahead.rules").touch()
    hidden = [
        f"if [ -e {top}/udev ]; then mount --bind {place}/udev {top}/udev; fi"
        for top in ("/etc", "/lib", "/usr/local/lib")
    ]
    _, findings = doctor(phone, conditions="; ".join(hidden), user=True)
    assert ("costs more processor time" in findings) != installed
    _, findings = doctor(phone, conditions="; ".join(hidden))
    assert "processor time" not in findings  # root raises it without


def test_swapped_arguments(phone: str, mountpoint: Path) -> None:
    """Source and mountpoint the wrong way round are told in one line."""
    result = run(*MTPFS, "doctor", mountpoint, phone, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"mtpfs: the source comes first: `mtpfs doctor {phone} {mountpoint}`\n"


def test_unreadable_mountpoint(phone: str, mountpoint: Path) -> None:
    """A directory that one may mount on, but not read, is no problem, and no traceback."""
    os.chown(mountpoint, 65534, 65534)
    mountpoint.chmod(0o300)
    status, findings = doctor(phone, mountpoint, user=True)
    assert status == 0
    assert f"{mountpoint} can be mounted on" in findings
    assert re.search(r"^note .*can't be looked into \(Permission denied\)", findings, re.MULTILINE)


def test_shared_mountpoint(phone: str, mountpoint: Path) -> None:
    """In a directory such as /tmp everybody may write, but only its owner may mount on it."""
    mountpoint.chmod(0o1777)
    status, findings = doctor(phone, mountpoint, user=True)
    assert status == 1
    assert "make a directory of your own" in problems(findings)
    result = run(*NOBODY.split(), *MTPFS, phone, mountpoint, check=False)
    assert (result.returncode, result.stderr) == (
        1,
        f"mtpfs: {mountpoint}: can't be mounted: mountpoint {mountpoint} not owned by user\n",
    )
    assert doctor(phone, mountpoint)[0] == 0, "root may"


def test_mountpoint_in_a_closed_directory(phone: str, place: Path) -> None:
    """What lies where one may not go is a problem, as it is for a mount."""
    (place / "closed/m").mkdir(parents=True)
    (place / "closed").chmod(0o700)
    status, findings = doctor(phone, place / "closed/m", user=True)
    assert status == 1
    assert "Permission denied" in problems(findings)


def test_helper_that_may_not_be_looked_at(phone: str) -> None:
    """Where root keeps the helper's directory to himself, doctor says so, and goes on."""
    closed = (
        "mount -t tmpfs -o mode=700 none /mnt; touch /mnt/mount.mtpfs; mount --bind /mnt $(realpath /sbin)"
    )
    status, findings = doctor(phone, conditions=closed, user=True)
    assert status == 0
    assert re.search(r"^note .*/sbin/mount.mtpfs may not be looked at", findings, re.MULTILINE)


def test_missing_mountpoint(phone: str, tmp_path: Path) -> None:
    """A mountpoint that isn't there is a problem; the phone is looked at all the same."""
    status, findings = doctor(phone, tmp_path / "none")
    assert status == 1
    assert "mkdir" in problems(findings)
    assert "Internal shared storage" in findings


def test_occupied_mountpoint(phone: str, mountpoint: Path) -> None:
    """Files in the mountpoint are no problem, but mentioned."""
    (mountpoint / "file").touch()
    status, findings = doctor(phone, mountpoint)
    assert status == 0
    assert re.search(r"^note .*isn't empty", findings, re.MULTILINE)


@pytest.mark.usefixtures("mounted")
def test_mounted_already(phone: str, mountpoint: Path) -> None:
    """A phone that is mounted where it is wanted is no problem, named or not; its storages are pointed at."""
    for words in ((phone, mountpoint), (mountpoint,), (f"{mountpoint}/",)):
        status, findings = doctor(*words)
        assert status == 0
        assert not problems(findings)
        assert f"{phone} is mounted on {mountpoint}" in findings
        assert "/Internal shared storage': the top of the mount holds storages" in findings
        assert findings.endswith("It is mounted.\n")
    assert f"is mounted on {mountpoint}" in doctor(phone)[1]


@pytest.mark.usefixtures("mounted")
def test_another_is_mounted_already(place: Path, mountpoint: Path) -> None:
    """Where another phone is mounted than the one that is wanted, a mount fails, and doctor foresees it."""
    (place / "another").mkdir()
    another = f"virtual:{place}/another"
    status, findings = doctor(another, mountpoint)
    assert status == 1
    assert "mounted here already" in problems(findings)
    assert "mounted here already" in run(*MTPFS, another, mountpoint, check=False).stderr


@pytest.mark.usefixtures("mounted")
def test_mount_of_another_user(mountpoint: Path) -> None:
    """What one may not look into is said in words, by each command."""
    status, findings = doctor(mountpoint, user=True)
    assert status == 0
    assert re.search(r"^note .*another user has mounted this", findings, re.MULTILINE)
    for command in ("info", "stats"):
        result = run(*NOBODY.split(), *MTPFS, command, mountpoint, check=False)
        assert result.returncode == 1
        assert result.stderr == (
            f"mtpfs: {mountpoint}: another user has mounted this, and no other user may look into it\n"
        )


def test_mount_without_phone(place: Path, mountpoint: Path) -> None:
    """While the phone is away, info and doctor say so, and stats tells what it knows."""
    (place / "phone").mkdir()
    control = place / "control"
    with (
        virtual_mount(place / "phone", mountpoint, control=control),
        conversation(control) as say,
    ):
        say("unplug")
        wait_until(lambda: not is_listed(mountpoint), "the news of the unplugging")
        info = run(*MTPFS, "info", mountpoint, check=False)
        assert (info.returncode, info.stdout) == (1, "")
        assert info.stderr == (
            f"mtpfs: {mountpoint}: the phone is unplugged, or locked; it can be asked again when it is back\n"
        )
        assert "transactions" in run(*MTPFS, "stats", mountpoint).stdout
        status, findings = doctor(mountpoint)
        assert status == 0
        assert re.search(r"^note .*the phone is unplugged, or locked", findings, re.MULTILINE)
        say("plug")
        wait_until(lambda: is_listed(mountpoint), "its return")


def is_listed(directory: Path) -> bool:
    """Tell whether a directory can be listed."""
    try:
        os.listdir(directory)
    except OSError:
        return False
    return True


def test_nothing_is_mounted(mountpoint: Path) -> None:
    """A directory that is no mount is said to be none."""
    result = run(*MTPFS, "stats", mountpoint, check=False)
    assert (result.returncode, result.stderr) == (1, f"mtpfs: {mountpoint}: nothing is mounted here\n")


@pytest.mark.usefixtures("mounted")
def test_reader_that_has_enough(mountpoint: Path) -> None:
    """`mtpfs stats | head -1` ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        result = subprocess.run(
            [*MTPFS, "stats", mountpoint],
            check=False,
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert result.stderr == ""


def test_refusal_in_words(phone: str, mountpoint: Path) -> None:
    """What fusermount3 or the kernel refuses is one line with the reason."""
    result = run(*as_nobody(), *MTPFS, phone, mountpoint, check=False)
    reason = f"user has no write access to mountpoint {mountpoint}"
    assert (result.returncode, result.stderr) == (1, f"mtpfs: {mountpoint}: can't be mounted: {reason}\n")
    result = run("setpriv", "--bounding-set=-sys_admin", *MTPFS, phone, mountpoint, check=False)
    reason = "mount failed: Operation not permitted"
    assert (result.returncode, result.stderr) == (1, f"mtpfs: {mountpoint}: can't be mounted: {reason}\n")


def test_stale_mount(phone: str, mountpoint: Path, mounted: subprocess.Popen[bytes]) -> None:
    """What a killed mount leaves is found, wherever it is, with the command that removes it."""
    mounted.kill()
    mounted.wait(20)
    status, findings = doctor(phone, mountpoint)
    assert status == 1
    assert f"fusermount3 -u {mountpoint}" in problems(findings)
    status, findings = doctor(phone)
    assert status == 0, "it is in nobody's way elsewhere"
    assert re.search(rf"^note .*fusermount3 -u {mountpoint}", findings, re.MULTILINE)


def test_foreign_mountpoint(phone: str, mountpoint: Path) -> None:
    """An ordinary user can't mount where he can't write."""
    status, findings = doctor(phone, mountpoint, user=True)
    assert status == 1
    assert str(mountpoint) in problems(findings)


def test_locked_phone(phone: str) -> None:
    """A phone without storages is locked, or asks."""
    status, findings = doctor(f"{phone}?locked")
    assert status == 0, "a mount of it works, too"
    assert re.search(r"^note .*unlock it", findings, re.MULTILINE)
    assert findings.endswith("A mount would work, and be empty until the phone is unlocked.\n")


def test_no_fuse(phone: str) -> None:
    """Without /dev/fuse the module is missing."""
    status, findings = doctor(phone, conditions="mount -t tmpfs none /dev")
    assert status == 1
    assert "modprobe fuse" in problems(findings)


def test_forbidden_fuse(phone: str) -> None:
    """A device node that only root may open is named."""
    status, findings = doctor(
        phone,
        conditions="mount -t tmpfs none /mnt; mknod -m 600 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse",
        user=True,
    )
    assert status == 1
    assert "chmod 666 /dev/fuse" in problems(findings)


def test_no_fusermount(phone: str) -> None:
    """An ordinary user needs fusermount3."""
    unshare, shell, setpriv = (shutil.which(name) for name in ("unshare", "sh", "setpriv"))
    assert unshare
    assert shell
    assert setpriv
    status, findings = doctor(
        phone,
        conditions=f"mount -t tmpfs none /mnt; ln -s {setpriv} /mnt/setpriv; export PATH=/mnt",
        user=True,
    )
    assert status == 1
    assert "apt install fuse3" in problems(findings)


def test_powerless_fusermount(phone: str) -> None:
    """A fusermount3 without its set-user-ID bit can't mount."""
    program = shutil.which("fusermount3")
    assert program
    copy = f"mount -t tmpfs none /mnt; cp {program} /mnt; chmod 755 /mnt/fusermount3"
    status, findings = doctor(
        phone, conditions=f"{copy}; mount --bind /mnt/fusermount3 {os.path.realpath(program)}", user=True
    )
    assert status == 1
    assert "set-user-ID" in problems(findings)


@pytest.mark.parametrize("line", ["#user_allow_other", "user_allow_other"])
def test_fuse_conf(phone: str, line: str) -> None:
    """Without the line in fuse.conf the user learns which one it is; with it there is nothing to say."""
    write = f"mount -t tmpfs none /mnt; echo '{line}' > /mnt/conf; mount --bind /mnt/conf /etc/fuse.conf"
    status, findings = doctor(phone, conditions=write, user=True)
    assert status == 0
    assert ("`user_allow_other`" in findings) == line.startswith("#")


def test_no_usb() -> None:
    """A kernel without USB is said to be one."""
    status, findings = doctor(conditions="mount -t tmpfs none /sys/bus")
    assert status == 1
    assert "no USB" in problems(findings)


def test_no_phone() -> None:
    """With an empty bus the user learns what to do with the phone."""
    status, findings = doctor(conditions=NO_PHONE)
    assert status == 1
    assert "no MTP device found" in problems(findings)
    assert "File transfer" in problems(findings)


@pytest.mark.parametrize(
    ("vendor", "classes", "mode"),
    [
        ("18d1", ["ff 42 01"], "USB debugging only"),
        ("18d1", ["ff 42 03"], "its bootloader only"),
        ("04e8", ["e0 01 03", "0a 00 00", "ff 42 01"], "tethering only"),
        ("2a70", ["ff ff 00"], "charging only"),
        ("1234", ["ff 42 01"], "USB debugging only"),
        ("04e8", ["08 06 50"], None),
        ("054c", ["03 00 00", "01 01 00"], None),
        ("1234", ["ff ff 00"], None),
    ],
)
def test_phone_in_another_mode(vendor: str, classes: list[str], mode: str | None) -> None:
    """A phone that is connected, but not for files, is told from disks, pads and strangers."""
    device = "/sys/bus/usb/devices/1-1"
    commands = [NO_PHONE, f"mkdir {device}", f"cd {device}"]
    facts = {"busnum": "1", "devnum": "4", "idVendor": vendor, "idProduct": "4ee0", "product": "Pixel 7"}
    commands += [f"echo '{value}' > {name}" for name, value in facts.items()]
    for number, codes in enumerate(classes):
        commands.append(f"mkdir 1-1:1.{number}")
        for name, code in zip(("Class", "SubClass", "Protocol"), codes.split(), strict=True):
            commands.append(f"echo {code} > 1-1:1.{number}/bInterface{name}")
    status, findings = doctor(conditions="; ".join(commands))
    assert status == 1
    if mode:
        assert f"Pixel 7 ({vendor}:4ee0) is connected for {mode}" in problems(findings)
    else:
        assert "Pixel 7" not in findings


def test_no_libusb() -> None:
    """Without libusb the package to install is named."""
    libraries = run("sh", "-c", "ldconfig -p | sed -n 's/.*libusb-1.0.so.0.* => //p'").stdout.split()
    hide = "; ".join(f"mount --bind /dev/null {os.path.realpath(library)}" for library in libraries)
    status, findings = doctor(conditions=f"{NO_PHONE}; {hide}")
    assert status == 1
    assert "libusb-1.0-0" in problems(findings)


def test_arguments() -> None:
    """Mistakes in the arguments are one line, with status 1."""
    for words in (["a", "b", "c"], ["nonsense:1"], ["--nonsense"]):
        result = run(*MTPFS, "doctor", *words, check=False)
        assert result.returncode == 1
        assert re.fullmatch(r"mtpfs: [^\n]+\n", result.stderr)


def test_info(phone: str) -> None:
    """`info` tells names, storages, battery, capabilities and quirks; as text and as JSON the same."""
    facts = json.loads(
        run(*MTPFS, "info", f"{phone}?serial=X1&storages=2&no-edit&model=Test", "--json").stdout
    )
    assert facts["serial"] == "X1"
    assert facts["model"] == "Test"
    assert facts["battery"] == 87
    assert [storage["description"] for storage in facts["storages"]] == ["Internal shared storage", "SD card"]
    assert facts["storages"][1]["removable"]
    assert facts["storages"][0]["capacity"] >= facts["storages"][0]["free"] > 0
    assert facts["capabilities"]["edit in place"] is False
    assert facts["capabilities"]["rename"] is True
    assert facts["quirks"] == ["folds"]
    text = run(*MTPFS, "info", f"{phone}?serial=X1&storages=2&no-edit").stdout
    for part in ("X1", "87 %", "SD card: ", "removable", "no   edit in place", "yes  rename"):
        assert part in text


def test_info_of_locked_phone(phone: str) -> None:
    """A phone that shows no storage says why."""
    assert "locked" in run(*MTPFS, "info", f"{phone}?locked").stdout


def test_info_without_phone(tmp_path: Path) -> None:
    """What isn't there is one line on stderr, and nothing on stdout."""
    result = run(*MTPFS, "info", f"virtual:{tmp_path}/none", "--json", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"mtpfs: [^\n]+\n", result.stderr)


@pytest.mark.usefixtures("mounted")
def test_info_of_mount(phone: str, mountpoint: Path) -> None:
    """A phone that is mounted tells the same through its mount."""
    told = json.loads(run(*MTPFS, "info", mountpoint, "--json").stdout)
    opened = json.loads(run(*MTPFS, "info", phone, "--json").stdout)
    for facts in (told, opened):
        facts["storages"][0].pop("free")  # others use this disk, too
    assert told == opened
    assert ".mtpfs-info" not in os.listdir(mountpoint)
    with pytest.raises(PermissionError):
        (mountpoint / ".mtpfs-info").open("wb")
