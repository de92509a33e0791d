"""`mtpfs umount`, and the desktop's notification: when the cable may be pulled, and what is missing on the phone."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from equipment.conversation import conversation
from mount.conftest import HAS_FUSE, MTPFS, PATIENCE, Mount, run, running, virtual_mount, wait_until
from mtpfs.cli import umount
from mtpfs.errors import SetupError

pytestmark = pytest.mark.skipif(not HAS_FUSE, reason="no FUSE")

HELD = ".photo.jpg.Ab12Cd"
STORAGE = "Internal shared storage"


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    (tmp_path / "phone").mkdir()
    return tmp_path / "phone"


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    (tmp_path / "mount").mkdir()
    return tmp_path / "mount"


@pytest.fixture
def mounted(phone: Path, mountpoint: Path) -> Iterator[Mount]:
    with virtual_mount(phone, mountpoint) as mount:
        yield mount


def hold(directory: Path) -> None:
    """Write a file as rsync does, which waits for its final name."""
    descriptor = os.open(directory / HELD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(descriptor, b"contents")
    os.close(descriptor)


def test_waits_for_the_end(mounted: Mount) -> None:
    """When the command returns, the process has ended, and the cable may be pulled."""
    (mounted.root / "f").write_text("f")
    result = run(*MTPFS, "umount", mounted.mountpoint)
    assert mounted.process.wait(0) == 0
    assert not os.path.ismount(mounted.mountpoint)
    assert (
        result.stdout == f"{mounted.mountpoint} is unmounted, and mtpfs Virtual phone can be disconnected.\n"
    )
    assert result.stderr == ""


def test_what_arrives(mounted: Mount) -> None:
    """A file that was still held is sent, and named."""
    hold(mounted.root)
    assert not (mounted.phone / HELD).exists()
    result = run(*MTPFS, "umount", mounted.mountpoint)
    assert (mounted.phone / HELD).read_bytes() == b"contents"
    assert result.stdout.splitlines()[0] == f"arrived: /{STORAGE}/{HELD}"


def test_redacted(mounted: Mount) -> None:
    """With `--redact` no name of a file is shown."""
    hold(mounted.root)
    result = run(*MTPFS, "umount", "--redact", mounted.mountpoint)
    assert re.match(r"arrived: /name-\w{8}/name-\w{8}\n", result.stdout)


def test_what_does_not_arrive(tmp_path: Path, phone: Path, mountpoint: Path) -> None:
    """What can't be sent is named, with its place in the recovery directory, and the status isn't 0."""
    control = tmp_path / "control"
    with virtual_mount(phone, mountpoint, control=control) as mount, conversation(control) as say:
        hold(mount.root)
        say("unplug")
        result = run(*MTPFS, "umount", mountpoint, check=False)
        assert mount.process.wait(0) == 0
    assert (result.returncode, result.stdout) == (1, "")
    named, summary = [line for line in result.stderr.splitlines() if "still to be sent" not in line]
    found = re.fullmatch(rf"mtpfs: not on the phone: /{STORAGE}/{HELD}, kept as (.*) \(.*\)", named)
    assert found
    assert Path(found[1]).read_bytes() == b"contents"
    Path(found[1]).unlink()
    assert summary == f"mtpfs: {mountpoint} is unmounted; 1 file could not be sent"


def test_in_use(mounted: Mount) -> None:
    """While a program has something open nothing is unmounted, and the program is named."""
    (mounted.root / "f").write_text("f")
    with (mounted.root / "f").open():
        result = run(*MTPFS, "umount", mounted.mountpoint, check=False)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith(f"mtpfs: {mounted.mountpoint} is in use by ")
        assert f"(pid {os.getpid()})" in result.stderr
        assert os.path.ismount(mounted.mountpoint)
    result = run(*MTPFS, "umount", ".", check=False, cwd=mounted.mountpoint)
    assert (
        result.stderr
        == "mtpfs: . is in use by a program: close what is open there, or leave the directory, and try again\n"
    ), "by ourselves"
    run(*MTPFS, "umount", mounted.mountpoint)


def test_in_use_for_a_moment(mounted: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has something open at the first look only isn't complained of."""
    (mounted.root / "f").write_text("f")
    script = "import sys; file = open(sys.argv[1]); print(flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, mounted.root / "f"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout
    holder.stdout.readline()
    looks = []
    look = umount._users

    def look_and_close(directory: str) -> list[str]:
        looks.append(look(directory))
        if holder.poll() is None:
            holder.communicate(b"\n", timeout=PATIENCE)
        return looks[-1]

    monkeypatch.setattr(umount, "_users", look_and_close)
    umount.unmount(str(mounted.mountpoint))
    assert f"(pid {holder.pid})" in str(looks[0])
    assert not os.path.ismount(mounted.mountpoint)


def test_nothing_is_mounted(mountpoint: Path) -> None:
    """A directory that is no mount is told in one line."""
    result = run(*MTPFS, "umount", mountpoint, check=False)
    assert (result.returncode, result.stderr) == (1, f"mtpfs: {mountpoint}: nothing is mounted here\n")


def test_dead_mount(mounted: Mount) -> None:
    """What a killed program has left is removed; that all is well isn't said."""
    mounted.process.kill()
    mounted.process.wait(PATIENCE)
    result = run(*MTPFS, "umount", mounted.mountpoint, check=False)
    assert result.returncode == 1
    assert "its program had died before" in result.stderr
    assert not os.path.ismount(mounted.mountpoint)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_ordinary_user() -> None:
    """Who isn't root unmounts by fusermount3, and only what is his own."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if run(*nobody, sys.executable, "-c", "import mtpfs", check=False).returncode:
        pytest.skip("mtpfs lies in a directory that other users can't enter")
    with tempfile.TemporaryDirectory() as name:  # everybody can get there, unlike pytest's
        place = Path(name)
        place.chmod(0o755)
        for directory in (place / "phone", place / "mount"):
            directory.mkdir()
            os.chown(directory, 65534, 65534)
        run(*nobody, *MTPFS, f"virtual:{place}/phone", place / "mount")
        try:
            refused = run(*MTPFS, "umount", place / "mount", check=False)
            assert "another user has mounted this" in refused.stderr
            assert "can be disconnected" in run(*nobody, *MTPFS, "umount", place / "mount").stdout
            assert not os.path.ismount(place / "mount")
        finally:
            run("fusermount3", "-uz", place / "mount", check=False)


_NEVER_DONE = """
import sys
import trio
from mtpfs.cli.main import main
from mtpfs.vfs import Filesystem

async def finish(self):
    await trio.sleep_forever()

Filesystem.finish = finish
phone, mountpoint = sys.argv[1:]
sys.exit(main(["-f", f"virtual:{phone}", mountpoint]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_mount_of_another_user() -> None:
    """What somebody else has mounted for all isn't unmounted."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if run(*nobody, sys.executable, "-c", "import mtpfs", check=False).returncode:
        pytest.skip("mtpfs lies in a directory that other users can't enter")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "phone").mkdir()
        mountpoint = Path(name) / "mount"
        mountpoint.mkdir()
        with virtual_mount(Path(name) / "phone", mountpoint, "", "-o", "allow_other"):
            result = run(*nobody, *MTPFS, "umount", mountpoint, check=False)
            assert result.returncode == 1
            assert result.stderr == (
                f"mtpfs: {mountpoint}: another user has mounted this, and has to unmount it\n"
            )
            assert os.path.ismount(mountpoint)


@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("exit 1", "can't be unmounted: status 1"),
        ("echo 'PROGRAM: M: not permitted' >&2; exit 32", "can't be unmounted: M: not permitted"),
        ("", "isn't installed"),
    ],
)
def test_refusals(
    mounted: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, line: str
) -> None:
    """What the program that unmounts has to say is handed on, without its name."""
    name = "umount" if os.geteuid() == 0 else "fusermount3"
    (tmp_path / "programs").mkdir()
    if program:
        script = tmp_path / "programs" / name
        script.write_text(f"#!/bin/sh\n{program.replace('PROGRAM', name)}\n")
        script.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "programs"))
        result = run(*MTPFS, "umount", mounted.mountpoint, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("mtpfs: ")
    assert result.stderr.endswith(f"{line}\n")


def test_mount_that_can_not_be_watched(phone: Path, mountpoint: Path, tmp_path: Path) -> None:
    """In another namespace of processes there is nothing to watch: nothing is unmounted, and a way is named."""
    if run("unshare", "--pid", "--fork", "--mount-proc", "true", check=False).returncode:
        pytest.skip("no namespaces here")
    with virtual_mount(phone, mountpoint):
        result = run("unshare", "--pid", "--fork", "--mount-proc", *MTPFS, "umount", mountpoint, check=False)
        assert result.returncode == 1
        assert "can't be watched from here; `" in result.stderr
        assert "unmounts without waiting" in result.stderr
        assert os.path.ismount(mountpoint)


@pytest.fixture
def sending(phone: Path, mountpoint: Path) -> Iterator[tuple[Mount, subprocess.Popen[str]]]:
    """A mount that is at its end, but never gets done with its last file, and who waits for that."""
    command = [sys.executable, "-c", _NEVER_DONE, str(phone), str(mountpoint)]
    with running(command, phone, mountpoint, "") as mount:
        hold(mount.root)
        waiting = subprocess.Popen(
            [*MTPFS, "umount", mountpoint], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert waiting.stderr
        try:
            assert select.select([waiting.stderr], [], [], PATIENCE)[0], "nothing is said"
            yield mount, waiting
        finally:
            waiting.kill()
            waiting.communicate()
            mount.process.kill()


def test_ctrl_c(sending: tuple[Mount, subprocess.Popen[str]]) -> None:
    """Ctrl-C ends the wait and not the sending, and that is said."""
    mount, waiting = sending
    waiting.send_signal(signal.SIGINT)
    output, said = waiting.communicate(timeout=PATIENCE)
    assert (waiting.returncode, output) == (130, "")
    assert said.splitlines()[0] == "mtpfs: 1 file still to be sent (0 MiB so far); don't disconnect yet"
    assert f"its program (pid {mount.process.pid}) goes on sending" in said.splitlines()[-1]
    assert mount.process.poll() is None


def test_progress_on_a_terminal(phone: Path, mountpoint: Path) -> None:
    """On a terminal one line tells how far it is, and gives way to the outcome."""
    terminal, theirs = os.openpty()
    command = [sys.executable, "-c", _NEVER_DONE, str(phone), str(mountpoint)]
    with running(command, phone, mountpoint, "") as mount:
        hold(mount.root)
        with subprocess.Popen([*MTPFS, "umount", mountpoint], stderr=theirs) as waiting:
            os.close(theirs)
            assert os.read(terminal, 1000).startswith(b"\rmtpfs: 1 file still to be sent (0 MiB so far)")
            mount.process.kill()
            said = b""
            while b"ended without" not in said:
                said += os.read(terminal, 1000)
            assert b"\x1b[Kmtpfs: " in said
            assert waiting.wait(PATIENCE) == 1
    os.close(terminal)


def test_killed_while_sending(sending: tuple[Mount, subprocess.Popen[str]]) -> None:
    """Of a program that was killed nobody knows what has arrived: so that is an error."""
    mount, waiting = sending
    mount.process.kill()
    _, said = waiting.communicate(timeout=PATIENCE)
    assert waiting.returncode == 1
    assert "ended without telling whether everything has arrived" in said


def test_wait_is_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that sends nothing for long isn't waited for."""
    monkeypatch.setattr(umount, "STALLED", 0.2)
    monkeypatch.setattr(umount, "INTERVAL", 0.05)
    report = os.memfd_create("report")
    os.write(report, json.dumps({"left": 1, "sent": 0}).encode() + b"\n")
    with subprocess.Popen(["sleep", "60"]) as stuck:
        process = os.pidfd_open(stuck.pid)
        try:
            with pytest.raises(SetupError, match="has sent nothing for 0 s, and hasn't ended"):
                umount.Program(stuck.pid, process, report).wait()
        finally:
            stuck.kill()
            os.close(process)
            os.close(report)


# --- the desktop


Notified = Callable[[], list[str]]


@pytest.fixture(params=["notify-send", "gdbus"])
def notified(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Notified]:
    """A desktop with one of the two programs; and what it was called with, once that has happened."""
    programs, said = tmp_path / "programs", tmp_path / "said"
    programs.mkdir()
    for needed in ("fusermount3", "umount", "sleep"):
        found = shutil.which(needed)
        assert found
        (programs / needed).symlink_to(found)
    script = programs / request.param
    script.write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{said}.new'\necho $$ >> '{said}.new'\n"
        f"PATH={programs}; export PATH\n/bin/mv '{said}.new' '{said}'\nexec sleep 60\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))

    def read() -> list[str]:
        wait_until(said.exists, "the notification")
        *words, pid = said.read_text().splitlines()
        os.kill(int(pid), signal.SIGKILL)  # the mount hasn't waited for it
        return words

    return request.param, read


def test_notification(notified: tuple[str, Notified], phone: Path, mountpoint: Path) -> None:
    """Who ejects in a file manager is told when what was left has been sent; the mount waits for no answer."""
    program, read = notified
    with virtual_mount(phone, mountpoint) as mount:
        hold(mount.root)
        mount.unmount()
    words = read()
    if program == "notify-send":
        assert words[-3:] == [
            "--",
            "mtpfs Virtual phone can be disconnected",
            "Files that arrived after it was unmounted: 1.",
        ]
    else:
        assert "--method=org.freedesktop.Notifications.Notify" in words
        assert '"mtpfs Virtual phone can be disconnected"' in words
        assert '"Files that arrived after it was unmounted: 1."' in words


@pytest.mark.parametrize("notified", ["notify-send"], indirect=True)
def test_notification_of_a_loss(
    notified: tuple[str, Notified], tmp_path: Path, phone: Path, mountpoint: Path
) -> None:
    """What couldn't be sent is told with the directory where it is."""
    control = tmp_path / "control"
    with virtual_mount(phone, mountpoint, control=control) as mount, conversation(control) as say:
        hold(mount.root)
        say("unplug")
        mount.unmount()
    _, read = notified
    _, summary, body = read()[-3:]
    assert summary == "Not everything is on mtpfs Virtual phone"
    found = re.fullmatch(r"Files that could not be sent: 1. What was kept is below (.*)\.", body)
    assert found
    (Path(found[1]) / HELD).unlink()


@pytest.mark.parametrize("notified", ["notify-send"], indirect=True)
@pytest.mark.parametrize("by", ["fusermount3", "mtpfs"])
def test_no_notification(
    notified: tuple[str, Notified], tmp_path: Path, phone: Path, mountpoint: Path, by: str
) -> None:
    """Nothing is shown where nothing was left to be sent, nor to who has waited for the end."""
    with virtual_mount(phone, mountpoint) as mount:
        if by == "mtpfs":
            hold(mount.root)
            run(*MTPFS, "umount", mountpoint)
        else:
            (mount.root / "f").write_text("f")
            mount.unmount()
    assert not (tmp_path / "said").exists()
