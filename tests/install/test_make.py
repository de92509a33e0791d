"""The Makefile and what it calls: tildes, the demo beside a real phone, missing packages, what tests leave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from install.conftest import TOP
from mount.conftest import HAS_FUSE, run, wait_until
from mtpfs.device.quirks import Quirks

needs_fuse = pytest.mark.skipif(not HAS_FUSE, reason="no /dev/fuse or no fusermount3")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """Return a directory with what the Makefile's targets for users need; nothing stays mounted below it."""
    tree = tmp_path / "tree"
    (tree / "contrib").mkdir(parents=True)
    shutil.copy(TOP / "Makefile", tree)
    for name in ("demo-phone", "mount-on"):
        shutil.copy(TOP / "contrib" / name, tree / "contrib")
    (tree / "contrib/setup").write_text("#!/bin/sh\n")
    (tree / "contrib/setup").chmod(0o755)
    (tree / ".venv/bin").mkdir(parents=True)
    (tree / ".venv/bin/python").symlink_to(sys.executable)
    mtpfs = tree / ".venv/bin/mtpfs"
    mtpfs.write_text(f'#!/bin/sh\nexec {sys.executable} -m mtpfs "$@"\n')
    mtpfs.chmod(0o755)
    yield tree
    mounts = run("findmnt", "-n", "-r", "-o", "TARGET", "-t", "fuse.mtpfs", check=False).stdout.split()
    for mountpoint in mounts:
        if Path(mountpoint).is_relative_to(tmp_path):
            run(mtpfs, "umount", mountpoint)  # tries again if it is busy for a moment


def make(tree: Path, *words: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Call make in a directory, without what the make that runs the tests has exported."""
    clean = [
        f"-u{name}" for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "VENV", "PREFIX", "DESTDIR")
    ]
    return run("env", *clean, f"HOME={home or tree}", "make", "-s", "-C", tree, *words, check=False)


@needs_fuse
def test_demo(tree: Path, tmp_path: Path) -> None:
    """The demo is mounted below a tilde's home, said in a dozen lines, and guarded until it is unmounted."""
    result = make(tree, "demo", "MNT=~/my phone", home=tmp_path)
    mountpoint = tmp_path / "my phone"
    assert result.returncode == 0, result.stderr
    assert os.path.ismount(mountpoint)
    assert len(result.stdout.splitlines()) <= 12
    assert not (tree / "~").exists()

    again = make(tree, "demo", "MNT=~/my phone", home=tmp_path)
    assert "mounted already" in again.stdout
    phone = make(tree, "mount", "MNT=~/my phone", home=tmp_path)
    assert phone.returncode != 0
    assert "made of software" in phone.stderr
    clean = make(tree, "clean")
    assert clean.returncode != 0
    assert str(mountpoint) in clean.stderr
    assert (tree / ".demo").exists()

    assert make(tree, "umount", "MNT=~/my phone", home=tmp_path).returncode == 0
    wait_until(lambda: not os.path.ismount(mountpoint), "the unmount")
    assert make(tree, "clean").returncode == 0
    assert not (tree / ".demo").exists()
    assert not (tree / ".venv").exists()


@needs_fuse
def test_demo_beside_a_phone(tree: Path, tmp_path: Path) -> None:
    """Where something else is mounted, the demo isn't said to be there."""
    (tmp_path / "other").mkdir()
    assert make(tree, "mount", f"SOURCE=virtual:{tmp_path}/other", f"MNT={tmp_path}/mnt").returncode == 0
    demo = make(tree, "demo", f"MNT={tmp_path}/mnt")
    assert demo.returncode != 0
    assert "is mounted on" in demo.stderr


def test_an_environment_for_each_python(tree: Path) -> None:
    """PYTHON= chooses the interpreter and its environment."""
    assert "\t.venv/bin/python -m pytest" in "\t" + _recipe(make(tree, "-n", "test").stdout)
    assert ".venv-python3.12/bin/python -m pytest" in make(tree, "-n", "test", "PYTHON=python3.12").stdout
    assert ".venv-pypy/bin/python -m pytest" in make(tree, "-n", "test", "PYTHON=/opt/x/pypy").stdout


def _recipe(text: str) -> str:
    (line,) = (line for line in text.splitlines() if "pytest" in line)
    return line.removeprefix("contrib/leaving-nothing ")


# --- contrib/setup


def setup(tmp_path: Path, purpose: str, **tools: str) -> subprocess.CompletedProcess[str]:
    """Run contrib/setup as an ordinary user on a Debian without packages; `tools` are scripts."""
    fakes = tmp_path / "fakes"
    fakes.mkdir()
    for name, script in {"dpkg-query": "exit 1", "id": "echo 1000", **tools}.items():
        (fakes / name).write_text(f"#!/bin/sh\n{script}\n")
        (fakes / name).chmod(0o755)
    words = ("env", "-uPYTHON", f"PATH={fakes}:/usr/bin:/bin", f"VENV={tmp_path}/venv")
    return run(*words, TOP / "contrib/setup", purpose, check=False)


@pytest.mark.parametrize(
    ("purpose", "packages"),
    [
        ("run", ("fuse3", "libfuse3-dev", "libmtp-common")),
        ("build", ("libfuse3-dev", "python3-dev")),
        ("deb", ("debhelper",)),
    ],
)
def test_without_sudo(tmp_path: Path, purpose: str, packages: tuple[str, ...]) -> None:
    """Who may not install packages is told what an administrator has to install; nothing is made."""
    result = setup(tmp_path, purpose, sudo="exit 1")
    assert result.returncode == 1
    assert "administrator" in result.stderr
    for package in packages:
        assert package in result.stderr
    assert not (tmp_path / "venv").exists()


def test_apt_is_heard_only_when_it_fails(tmp_path: Path) -> None:
    """What apt says isn't shown, but for the end of it where it fails."""
    sudo = 'case "$*" in *install*) seq 300; echo "E: no such thing"; exit 1 ;; esac'
    result = setup(tmp_path, "build", sudo=sudo)
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == 1
    assert "E: no such thing" in result.stderr
    assert len(result.stderr.splitlines()) < 30


def test_old_python(tmp_path: Path) -> None:
    """A Python that is too old is named, before anything is compiled for it."""
    (tmp_path / "python3.9").write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    (tmp_path / "python3.9").chmod(0o755)
    words = ("env", f"PYTHON={tmp_path}/python3.9", f"VENV={tmp_path}/venv", TOP / "contrib/setup", "build")
    result = run(*words, check=False)
    assert result.returncode == 1
    assert "3.11" in result.stderr


# --- contrib/leaving-nothing


def leaving(tmp_path: Path, script: str) -> tuple[int, str, list[Path]]:
    """Run a script in the place of pytest; return the status, what was said, and what is left."""
    base = tmp_path / "tmp"
    base.mkdir()
    words = ("env", f"TMPDIR={base}", TOP / "contrib/leaving-nothing", "bash", "-c", script)
    result = run(*words, check=False)
    return result.returncode, result.stderr, list(base.iterdir())


def test_success_leaves_nothing(tmp_path: Path) -> None:
    """The directory for temporary files is gone after a success."""
    assert leaving(tmp_path, 'echo x > "$TMPDIR/f"; mkdir -p "$TMPDIR/t/d"') == (0, "", [])


def test_failure_is_kept(tmp_path: Path) -> None:
    """After a failure everything is still there, and the status is the command's."""
    status, said, left = leaving(tmp_path, 'echo x > "$TMPDIR/f"; exit 3')
    assert status == 3
    assert (left[0] / "f").exists()
    assert str(left[0]) in said


def test_processes_that_are_left_are_told(tmp_path: Path) -> None:
    """A process that outlives the tests makes a failure of their success."""
    status, said, left = leaving(tmp_path, 'sleep 300 > /dev/null 2>&1 & echo $! > "$TMPDIR/pid"')
    pid = (left[0] / "pid").read_text().strip()
    os.kill(int(pid), 9)
    assert status == 1
    assert f"processes: {pid}" in said


def test_quirks_page() -> None:
    """The documentation tells of each quirk what it is and when it is set."""
    page = run(TOP / "contrib/quirks-page").stdout
    for name in Quirks.__slots__:
        assert f"\n## {name}\n" in page
    assert page.count("Set by: `") == len(Quirks.__slots__)
