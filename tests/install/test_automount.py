"""Automounting: the unit and the rules are valid, and what the unit starts does what systemd expects."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from install.conftest import TOP, Machine
from mount.conftest import PATIENCE, run, wait_until
from mtpfs.cli.mountpoint import directory_name
from mtpfs.cli.mounts import mounts

RULES = sorted((TOP / "contrib/udev").glob("*.rules"))


@pytest.fixture
def unit(tmp_path: Path, built: None) -> Path:
    """Return the unit as it is installed."""
    prefix = tmp_path / "prefix"
    run("env", f"PREFIX={prefix}", f"SBINDIR={tmp_path}/sbin", TOP / "contrib/install", "install")
    return prefix / "lib/systemd/user/mtpfs@.service"


@pytest.fixture
def import_unit(unit: Path) -> Path:
    """Return the unit that imports, as it is installed."""
    return unit.with_name("mtpfs-import@.service")


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """Return the directory of a virtual phone."""
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/f").write_text("contents")
    return tmp_path / "phone"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Return what stands for the user's home; nothing stays mounted there."""
    (tmp_path / "home").mkdir()
    yield tmp_path / "home"
    for target, _, _ in mounts():
        if Path(target).is_relative_to(tmp_path):
            run("fusermount3", "-u", "-z", target)


@contextmanager
def started(unit: Path, phone: Path, home: Path) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """Start the unit's command as systemd would, and wait until it says that it is ready."""
    (line,) = re.findall(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    words = [word.replace("%h", str(home)).replace("%f", f"virtual:{phone}") for word in shlex.split(line)]
    address = home.with_name("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(PATIENCE)
        environment = {"NOTIFY_SOCKET": str(address), "PATH": os.defpath}
        with subprocess.Popen(
            words, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                assert manager.recv(100) == b"READY=1"
                yield process, manager
            finally:
                process.kill()
                address.unlink()


def only(directory: Path) -> Path:
    """Return the only entry of a directory."""
    (entry,) = directory.iterdir()
    return entry


@pytest.mark.parametrize("name", ["mtpfs@.service", "mtpfs-import@.service"])
def test_unit_is_valid(unit: Path, tmp_path: Path, name: str) -> None:
    """systemd finds nothing to complain about in the installed units."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd")
    words = ["systemd-analyze", "verify", "--user", "--man=no", "--recursive-errors=no"]
    result = run("env", f"XDG_RUNTIME_DIR={tmp_path}", *words, unit.with_name(name), check=False)
    # A system without a bus is complained of, too.
    complaints = [line for line in result.stderr.splitlines() if "system bus" not in line]
    assert (result.returncode, complaints) == (0, [])


def test_unit_lets_fusermount3_be_root(unit: Path) -> None:
    """Nothing in the unit implies NoNewPrivileges or a mount namespace, which would keep users from mounting."""
    allowed = {
        "Type",
        "ExecStartPre",
        "ExecStart",
        "Restart",
        "RestartSec",
        "KillMode",
        "TimeoutStopSec",
        "UMask",
    }
    service = unit.read_text().partition("[Service]")[2]
    assert set(re.findall(r"^(\w+)=", service, re.MULTILINE)) <= allowed


def test_unit_mounts(unit: Path, phone: Path, home: Path) -> None:
    """The unit's command makes the directory, is ready when it is mounted, and removes it when it is stopped."""
    with started(unit, phone, home) as (process, manager):
        mountpoint = only(home / "Phones")
        assert re.fullmatch(r"Virtual-phone-V[0-9A-F]{8}", mountpoint.name)
        assert os.path.ismount(mountpoint)
        assert (only(mountpoint) / "f").read_text() == "contents"
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, log
        assert output.splitlines() == [str(mountpoint)]
        assert manager.recv(100) == b"STOPPING=1"
    assert list((home / "Phones").iterdir()) == []


def test_indexers_are_told_once(unit: Path, home: Path, tmp_path: Path) -> None:
    """What the unit does first keeps Tracker and Baloo out of the directory, and doesn't insist on it later."""
    (line,) = re.findall(r"^ExecStartPre=-(.*)$", unit.read_text(), re.MULTILINE)
    words = [word.replace("%h", str(home)).replace("$$", "$") for word in shlex.split(line)]
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir()
    baloo = tmp_path / "bin/balooctl"
    baloo.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    baloo.chmod(0o755)
    environment = {"PATH": f"{tmp_path}/bin:{os.defpath}"}
    phones = home / "Phones"
    subprocess.run(words, check=True, env=environment, timeout=PATIENCE)
    assert [path.name for path in phones.iterdir()] == [".trackerignore"]
    assert told.read_text() == f"config add excludeFolders {phones}\n"
    (phones / ".trackerignore").unlink()
    subprocess.run(words, check=True, env=environment, timeout=PATIENCE)
    assert list(phones.iterdir()) == []
    assert told.read_text() == f"config add excludeFolders {phones}\n"
    phones.rmdir()
    baloo.unlink()
    subprocess.run(
        words, check=True, env={"PATH": os.defpath.replace("/usr/bin", str(baloo.parent))}, timeout=PATIENCE
    )
    assert (phones / ".trackerignore").exists()


def test_dead_mount_is_cleared(unit: Path, phone: Path, home: Path) -> None:
    """What a killed program has left doesn't keep the next one from mounting in the same place."""
    with started(unit, phone, home) as (process, _):
        process.kill()
        process.wait(PATIENCE)
    dead = only(home / "Phones")
    with pytest.raises(OSError, match="not connected"):
        os.statvfs(dead)
    with started(unit, phone, home) as (process, _):
        assert (only(dead) / "f").read_text() == "contents"
        run("fusermount3", "-u", dead)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    assert not dead.exists()


def test_second_mount_is_refused(unit: Path, phone: Path, home: Path) -> None:
    """A phone that is mounted in its directory stays so when another mtpfs wants it there too."""
    with started(unit, phone, home) as (process, _):
        mountpoint = only(home / "Phones")
        program = unit.parents[3] / "bin/mtpfs"
        refused = run(program, f"virtual:{phone}", "--in", mountpoint.parent, check=False)
        assert refused.returncode == 1
        assert "mounted here already" in refused.stderr
        assert (only(mountpoint) / "f").read_text() == "contents"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0


def test_files_below_are_kept(unit: Path, phone: Path, home: Path) -> None:
    """Files that somebody has put into the directory before the mount are there after it."""
    program = unit.parents[3] / "bin/mtpfs"
    mountpoint = Path(run(program, f"virtual:{phone}", "--in", home / "Phones").stdout.strip())
    run("fusermount3", "-u", mountpoint)
    wait_until(lambda: not mountpoint.exists(), "the directory's removal")
    mountpoint.mkdir()
    (mountpoint / "mine").touch()
    with started(unit, phone, home) as (process, _):
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, log
        assert "is left" in log
    assert (mountpoint / "mine").exists()


@pytest.mark.parametrize(
    ("product", "serial", "name"),
    [
        ("Pixel 7", "28291FDH2003WX", "Pixel-7-28291FDH2003WX"),
        ("SAMSUNG_Android", "ce011", "SAMSUNG_Android-ce011"),
        ("Zoë's / Phone", "", "Zoë-s-Phone"),
        ("..", "/", "phone"),
    ],
)
def test_names(product: str, serial: str, name: str) -> None:
    """Names are readable, and tell two phones of a kind apart."""
    assert directory_name(product, serial) == name


@given(st.text(max_size=126), st.text(st.characters(codec="ascii"), max_size=126))
def test_any_name_is_a_name(product: str, serial: str) -> None:
    """Whatever a device calls itself becomes one component of a path, of legal length."""
    name = directory_name(product, serial)
    assert name not in {"", ".", ".."}
    assert not set(name) & set("/\0\n \"'$")
    assert len(name.encode()) <= 255


def test_import_unit(import_unit: Path, phone: Path, tmp_path: Path) -> None:
    """The unit's command imports to ~/Pictures, or where the configuration says, and waits for nothing on an unlocked phone."""
    (phone / "DCIM").mkdir()
    (phone / "DCIM/IMG_20250102_030405.jpg").write_bytes(b"photo")
    (line,) = re.findall(r"^ExecStart=(.*)$", import_unit.read_text(), re.MULTILINE)
    (settings,) = re.findall(r"^Environment=(.*)$", import_unit.read_text(), re.MULTILINE)
    (configuration,) = re.findall(r"^EnvironmentFile=-(.*)$", import_unit.read_text(), re.MULTILINE)
    assert configuration == "%E/mtpfs/import.conf"
    variables = dict(word.split("=", 1) for word in settings.replace("%h", str(tmp_path)).split())
    for configured in ({}, {"DIRECTORY": f"{tmp_path}/my photos", "OPTIONS": "--into {taken:%Y/%m} --again"}):
        variables |= configured
        words = [
            word
            for part in shlex.split(line.replace("%f", f"virtual:{phone}"))
            for word in (
                variables["OPTIONS"].split()  # systemd parts $WORD, and leaves ${WORD} whole
                if part == "$OPTIONS"
                else [part.replace("${DIRECTORY}", variables["DIRECTORY"])]
            )
        ]
        Path(variables["DIRECTORY"]).mkdir()
        run("env", f"XDG_STATE_HOME={tmp_path}/state-{len(words)}", *words)
    assert (tmp_path / "Pictures/DCIM/IMG_20250102_030405.jpg").read_bytes() == b"photo"
    assert (tmp_path / "my photos/2025/01/IMG_20250102_030405.jpg").read_bytes() == b"photo"


def test_import_unit_goes_through_the_mount(unit: Path, import_unit: Path) -> None:
    """It has the same instances as the mount's unit, and comes after it: else it would take the phone away from it."""
    assert re.search(
        rf"^After=.*\b{re.escape(unit.name.replace('@.', '@%i.'))}$", import_unit.read_text(), re.MULTILINE
    )
    rules = (TOP / "contrib/udev/73-mtpfs-import.rules").read_text()
    assert f'ENV{{SYSTEMD_USER_WANTS}}+="{import_unit.name}"' in rules
    assert 'ATTR{serial}=="SERIAL"' in rules  # it imports a phone that is named, and no other


def test_rules_are_valid(machine: Machine) -> None:
    """udev reads both files without complaint."""
    if "verify" in run("udevadm", "--help").stdout:
        run("udevadm", "verify", *RULES)
        return
    output = machine(
        f"mkdir -p /run/udev/rules.d; cp {TOP}/contrib/udev/*.rules /run/udev/rules.d\n"
        "udevadm test --action=add /sys/class/mem/null 2>&1"
    )
    for rules in RULES:
        said = [line for line in output.splitlines() if rules.name in line]
        assert said == [f"Reading rules file: /run/udev/rules.d/{rules.name}"]
