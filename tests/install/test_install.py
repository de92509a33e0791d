"""`make install` and `make uninstall`: everything is there, works from there, and goes away again."""

from __future__ import annotations

import os
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from install.conftest import TOP, Machine
from mount.conftest import run, wait_until

pytestmark = pytest.mark.usefixtures("built")

FILES = {
    "bin/mtpfs",
    "lib/systemd/user/mtpfs-import@.service",
    "lib/systemd/user/mtpfs@.service",
    "lib/udev/rules.d/72-mtpfs-readahead.rules",
    "libexec/mtpfs-readahead",
    "share/bash-completion/completions/mtpfs",
    "share/doc/mtpfs/CHANGELOG.md",
    "share/doc/mtpfs/LICENSE",
    "share/doc/mtpfs/README.md",
    "share/doc/mtpfs/design.md",
    "share/doc/mtpfs/desktops.md",
    "share/doc/mtpfs/fstab.example",
    "share/doc/mtpfs/library.md",
    "share/doc/mtpfs/mtpfs-files.schema.json",
    "share/fish/vendor_completions.d/mtpfs.fish",
    "share/man/man1/mtpfs-files.1",
    "share/man/man1/mtpfs-import.1",
    "share/man/man1/mtpfs.1",
    "share/man/man8/mount.fuse.mtpfs.8",
    "share/man/man8/mount.mtpfs.8",
    "share/mtpfs/70-mtpfs.rules",
    "share/mtpfs/71-mtpfs-no-gvfs.rules",
    "share/mtpfs/73-mtpfs-import.rules",
    "share/zsh/site-functions/_mtpfs",
}
"""What stands below PREFIX, beside the directory lib/mtpfs."""


def make(target: str, **variables: Path) -> subprocess.CompletedProcess[str]:
    """Call `contrib/install` as the Makefile does."""
    words = [f"{name}={value}" for name, value in variables.items()]
    return run("env", *words, TOP / "contrib/install", target)


def files(directory: Path) -> set[str]:
    """Return the files below a directory; of lib/mtpfs only that it is there."""
    found = {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}
    return {"lib/mtpfs" if name.startswith("lib/mtpfs/") else name for name in found}


def test_prefix(tmp_path: Path) -> None:
    """Installed below a prefix, both commands run, mount, and see no module but their own."""
    prefix, sbin = tmp_path / "prefix", tmp_path / "sbin"
    make("install", PREFIX=prefix, SBINDIR=sbin)
    assert files(prefix) == FILES | {"lib/mtpfs"}
    assert sorted(os.listdir(sbin)) == ["mount.fuse.mtpfs", "mount.mtpfs"]

    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "trio.py").write_text("raise SystemExit('somebody else\\'s trio')")
    words = ["env", f"PYTHONPATH={trap}"]
    assert run(*words, prefix / "bin/mtpfs", "--version").stdout.startswith("mtpfs ")
    phone, mountpoint = tmp_path / "phone", tmp_path / "mount"
    phone.mkdir()
    mountpoint.mkdir()
    (phone / "f").write_text("contents")
    for command in ([prefix / "bin/mtpfs"], [sbin / "mount.mtpfs"], [sbin / "mount.fuse.mtpfs"]):
        run(*words, *command, f"virtual:{phone}", mountpoint, "-o", "ro")
        try:
            (file,) = mountpoint.glob("*/f")
            assert file.read_text() == "contents"
        finally:
            run("fusermount3", "-u", mountpoint)
        wait_until(lambda: not os.path.ismount(mountpoint), "the unmount")

    make("uninstall", PREFIX=prefix)
    assert not prefix.exists()
    assert not sbin.exists()


def test_destdir(tmp_path: Path) -> None:
    """With DESTDIR everything is below it, speaks of where it will be, and can be read by all."""
    previous = os.umask(0o077)
    try:
        make("install", DESTDIR=tmp_path / "stage", PREFIX=Path("/opt/mtpfs"))
    finally:
        os.umask(previous)
    prefix = tmp_path / "stage/opt/mtpfs"
    assert files(prefix) == FILES | {"lib/mtpfs"}
    assert (tmp_path / "stage/sbin/mount.fuse.mtpfs").readlink() == Path("mount.mtpfs")
    for path in (tmp_path / "stage").rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISLNK(mode) or mode & 0o444 == 0o444, path
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path
    assert "/opt/mtpfs/lib/mtpfs" in (prefix / "bin/mtpfs").read_text()
    assert "ExecStart=/opt/mtpfs/bin/mtpfs " in (prefix / "lib/systemd/user/mtpfs@.service").read_text()
    make("uninstall", DESTDIR=tmp_path / "stage", PREFIX=Path("/opt/mtpfs"))
    assert files(tmp_path / "stage") == set()


def test_uninstall_takes_only_its_own(tmp_path: Path) -> None:
    """What others have in the same directories stays; installing twice leaves no more than once."""
    prefix, sbin = tmp_path / "prefix", tmp_path / "sbin"
    others = {"bin/other", "share/man/man1/other.1", "lib/systemd/user/other.service"}
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/other").touch()
    make("install", PREFIX=prefix, SBINDIR=sbin)
    (prefix / "lib/mtpfs/mtpfs/gone.py").touch()  # as from an older version
    for name in others:
        (prefix / name).touch()
    make("install", PREFIX=prefix, SBINDIR=sbin)
    assert not (prefix / "lib/mtpfs/mtpfs/gone.py").exists()
    make("uninstall", PREFIX=prefix)
    assert files(prefix) == others


def snapshot(directory: Path) -> dict[str, str]:
    """Return everything below a directory with what it holds, or where it leads."""
    return {
        str(path.relative_to(directory)): str(path.readlink())
        if path.is_symlink()
        else ""
        if path.is_dir()
        else path.read_bytes().hex()
        for path in directory.rglob("*")
    }


def refused(prefix: Path, sbin: Path) -> str:
    """Install, which must fail; return what it said."""
    words = ("env", f"PREFIX={prefix}", f"SBINDIR={sbin}")
    result = run(*words, TOP / "contrib/install", "install", check=False)
    assert result.returncode == 1
    return result.stderr


def test_home(tmp_path: Path) -> None:
    """In a home, also with a tilde that the shell has left alone, things are where they are looked for."""
    home = tmp_path / "home"
    home.mkdir()
    said = run(
        "env", "-uXDG_DATA_HOME", f"HOME={home}", "PREFIX=~/.local", TOP / "contrib/install", "install"
    ).stdout
    assert "No mount.mtpfs in /sbin" in said  # also where root installs
    share = home / ".local/share"
    for name in (
        "systemd/user/mtpfs@.service",
        "bash-completion/completions/mtpfs",
        "fish/vendor_completions.d/mtpfs.fish",
        "zsh/site-functions/_mtpfs",
        "man/man1/mtpfs.1",
    ):
        assert (share / name).is_file(), name
    assert f"ExecStart={home}/.local/bin/mtpfs " in (share / "systemd/user/mtpfs@.service").read_text()
    assert run(home / ".local/bin/mtpfs", "--version").stdout.startswith("mtpfs ")
    run("env", f"HOME={home}", "PREFIX=~/.local", TOP / "contrib/install", "uninstall")
    assert list(home.iterdir()) == []


def test_home_elsewhere(tmp_path: Path) -> None:
    """Another prefix in a home: what is looked for in one place of a home only is there, and goes away again."""
    words = ["env", f"HOME={tmp_path}", f"XDG_DATA_HOME={tmp_path}/data", f"PREFIX={tmp_path}/apps/mtpfs"]
    run(*words, TOP / "contrib/install", "install")
    assert (tmp_path / "data/systemd/user/mtpfs@.service").is_file()
    assert (tmp_path / "data/fish/vendor_completions.d/mtpfs.fish").is_file()
    assert (tmp_path / "apps/mtpfs/share/man/man1/mtpfs.1").is_file()
    run(*words[:2], *words[3:], TOP / "contrib/install", "uninstall")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moved", [0, 7])
def test_half_an_installation_can_be_removed(tmp_path: Path, moved: int) -> None:
    """After an installation that broke off, uninstalling leaves nothing; installing again works, too."""
    tools = tmp_path / "tools"
    tools.mkdir()
    count = tmp_path / "count"
    count.write_text(f"{moved}\n")
    broken = tools / "mv"
    broken.write_text(
        f'#!/bin/sh\nread n < {count}\n[ "$n" != 0 ] || exit 1\necho $((n - 1)) > {count}\nexec /bin/mv "$@"\n'
    )
    broken.chmod(0o755)
    prefix, sbin = tmp_path / "prefix", tmp_path / "sbin"
    words = ["env", f"PREFIX={prefix}", f"SBINDIR={sbin}"]
    for again in (False, True):
        count.write_text(f"{moved}\n")
        path = f"PATH={tools}:{os.environ['PATH']}"
        assert run(*words, path, TOP / "contrib/install", "install", check=False).returncode != 0
        if again:
            make("install", PREFIX=prefix, SBINDIR=sbin)
            assert files(prefix) == FILES | {"lib/mtpfs"}
        make("uninstall", PREFIX=prefix)
        assert not prefix.exists()
        assert not sbin.exists()


@pytest.mark.parametrize("kind", ["file", "link", "dead link", "directory"])
@pytest.mark.parametrize("name", ["prefix/bin/mtpfs", "sbin/mount.fuse.mtpfs", "prefix/lib/mtpfs"])
def test_what_is_there_is_not_touched(tmp_path: Path, kind: str, name: str) -> None:
    """A file, a directory or a link of somebody else's in the way: refused, and nothing at all was changed."""
    (tmp_path / "other").write_text("somebody else's")
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    match kind:
        case "file":
            path.write_text("somebody else's")
        case "link":
            path.symlink_to(tmp_path / "other")
        case "dead link":
            path.symlink_to(tmp_path / "nothing")
        case "directory":
            path.mkdir()
    before = snapshot(tmp_path)
    assert f"{path} is" in refused(tmp_path / "prefix", tmp_path / "sbin")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("change", ["text", "link"])
def test_what_was_changed_is_left(tmp_path: Path, change: str) -> None:
    """What somebody has put in the place of an installed file stays, and isn't overwritten."""
    prefix, sbin = tmp_path / "prefix", tmp_path / "sbin"
    make("install", PREFIX=prefix, SBINDIR=sbin)
    changed = prefix / "bin/mtpfs"
    (tmp_path / "other").write_text("somebody else's")
    changed.unlink()
    if change == "text":
        changed.write_text("somebody else's")
    else:
        changed.symlink_to(tmp_path / "other")
    before = snapshot(tmp_path)
    assert "isn't of this installation" in refused(prefix, sbin)
    assert snapshot(tmp_path) == before
    assert f"Left: {changed}" in make("uninstall", PREFIX=prefix).stdout
    assert changed.read_text() == "somebody else's"
    assert files(prefix) == {"bin/mtpfs"}
    assert not sbin.exists()


def test_the_list_is_complete() -> None:
    """Whatever lies in man/ and contrib/ to be installed is in contrib/files; the wheel has nothing else."""
    lines = [line.split() for line in (TOP / "contrib/files").read_text().splitlines()]
    listed = {line[1] for line in lines if line and line[0] in {"file", "program"}}
    for directory in ("man", "contrib/completions", "contrib/systemd", "contrib/udev"):
        assert {f"{directory}/{path.name}" for path in (TOP / directory).iterdir()} <= listed
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]) <= listed
    commands = {line[1] for line in lines if line and line[0] == "command"}
    entry_points = {text.rpartition(":")[2] for text in project["project"]["scripts"].values()}
    assert commands <= entry_points


def test_uninstall_of_nothing(tmp_path: Path) -> None:
    """Where nothing was installed, uninstalling says so and touches nothing."""
    refused = run("env", f"PREFIX={tmp_path}", TOP / "contrib/install", "uninstall", check=False)
    assert refused.returncode == 1
    assert "isn't installed" in refused.stderr


def test_on_a_machine(machine: Machine, tmp_path: Path) -> None:
    """Installed by root, it serves root, users, mount(8) by both type names, and leaves nothing behind."""
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/f").write_text("contents")
    above = " ".join(str(path) for path in tmp_path.parents)
    output = machine(
        f"""
        useradd --create-home someone
        cd {TOP}
        find /usr /etc -not -name __pycache__ -not -name '*.pyc' | sort > /before
        contrib/install install
        mkdir /mnt/a; chmod 777 /mnt/a
        chmod a+x {tmp_path} {above}
        cd /
        echo 'virtual:{tmp_path}/phone /mnt/a mtpfs noauto,user,nofail,ro 0 0' > /etc/fstab
        mount /mnt/a; cat /mnt/a/*/f; umount /mnt/a
        mount -t fuse.mtpfs virtual:{tmp_path}/phone /mnt/a -o ro; cat /mnt/a/*/f; umount /mnt/a
        chown someone /mnt/a
        su someone -c 'mount /mnt/a; cat /mnt/a/*/f; umount /mnt/a'
        su someone -c 'cd; mtpfs virtual:{tmp_path}/phone --in phones; cat phones/*/*/f; fusermount3 -u phones/*'
        {TOP}/contrib/install uninstall
        find /usr /etc -not -name __pycache__ -not -name '*.pyc' | sort | diff /before -
        """
    )
    assert output.count("contents") == 4, output
