"""`make deb`: a package that Debian installs, that works, and that goes away without a trace."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
from pathlib import Path

import pytest

from install.conftest import TOP, Machine
from mount.conftest import run

pytestmark = [
    pytest.mark.usefixtures("built"),
    pytest.mark.skipif(
        not (shutil.which("dpkg-buildpackage") and shutil.which("dh_python3")),
        reason="not Debian, or no debhelper",
    ),
]


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package, in haste: its contents are what is looked at. Once for all of xdist's processes."""
    base = tmp_path_factory.getbasetemp()
    directory = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "package"
    directory.mkdir(exist_ok=True)
    with (directory / "lock").open("w") as lock, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(directory.glob("mtpfs_*.deb")):
            patch.setenv("DPKG_DEB_COMPRESSOR_TYPE", "none")
            run(TOP / "contrib/deb/build", directory, patience=300)
    (package,) = directory.glob("mtpfs_*.deb")
    return package


@functools.cache  # apt takes two seconds to say it
def system_libraries() -> dict[str, str]:
    """Return the libraries that this Debian has itself, each with the dependency on it."""
    lines = run(TOP / "contrib/deb/system-libraries").stdout.splitlines()
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}


def needed_packages() -> str:
    """Return what else is installed with the package: libraries, and fuse3. contrib/setup has done that already."""
    return " ".join(["fuse3", *(text.split()[0] for text in system_libraries().values())])


def test_package(package: Path, tmp_path: Path) -> None:
    """It depends on what it needs and brings the rest; its contents are root's; each licence is told."""
    fields = run("dpkg-deb", "--field", package).stdout
    depends = run("dpkg-deb", "--field", package, "Depends").stdout
    assert "${" not in fields
    for needed in ("fuse3", "libusb-1.0-0", "python3", *system_libraries().values()):
        assert needed in depends
    assert all(
        line.split()[1] == "root/root" for line in run("dpkg-deb", "--contents", package).stdout.splitlines()
    )
    run("dpkg-deb", "--extract", package, tmp_path / "root")
    shipped = {path.name for path in (tmp_path / "root/usr/lib/mtpfs").iterdir()}
    assert "mtpfs" in shipped
    modules = {"pyfuse3": "pyfuse3", "trio": "trio", "pyusb": "usb"}
    for library, module in modules.items():
        assert (module in shipped) == (library not in system_libraries())
    if "pyfuse3" in shipped:
        assert re.search(r"\blibfuse3-\d", depends)
        assert "python3 (<< 3." in depends
    else:
        assert run("dpkg-deb", "--field", package, "Architecture").stdout == "all\n"
    copyright_text = (tmp_path / "root/usr/share/doc/mtpfs/copyright").read_text()
    for name in shipped:
        if name.endswith(".dist-info"):
            assert re.search(rf"\b{name.split('-')[0]}\b", copyright_text), name


def test_same_files_as_make_install(package: Path, tmp_path: Path) -> None:
    """The package has what `make install` has, but for what dpkg does otherwise."""
    run("dpkg-deb", "--extract", package, tmp_path / "package")
    words = ("env", f"DESTDIR={tmp_path / 'made'}", "PREFIX=/usr", "SBINDIR=/usr/sbin")
    run(*words, "ZSHDIR=/usr/share/zsh/vendor-completions", TOP / "contrib/install", "install")

    def names(root: Path) -> set[str]:
        found = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
        return {
            name.removesuffix(".gz")
            for name in found
            if not name.startswith(("usr/lib/mtpfs/", "usr/share/doc/", "usr/share/python3/"))
        }

    assert names(tmp_path / "package") == names(tmp_path / "made")


def test_bounds_are_minded(tmp_path: Path) -> None:
    """A library of the system's counts only between both bounds of pyproject.toml."""
    policy = tmp_path / "apt-cache"
    versions = "python3-trio) v=0.27.0-1 ;; python3-usb) v=1.4.0-1 ;; python3-pyfuse3) v='(none)'"
    policy.write_text(f'#!/bin/sh\ncase $2 in {versions} ;; esac\necho "  Candidate: $v"\n')
    policy.chmod(0o755)
    output = run("env", f"PATH={tmp_path}:/usr/bin:/bin", TOP / "contrib/deb/system-libraries").stdout
    assert output == "trio python3-trio (>= 0.27~)\n"


def test_installed(package: Path, machine: Machine, tmp_path: Path) -> None:
    """Installed by apt it mounts, by itself and by mount(8); removed, it leaves nothing."""
    shutil.copy(package, tmp_path)
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/f").write_text("contents")
    output = machine(
        f"""
        apt-get install --yes --quiet --no-install-recommends {needed_packages()}
        find /usr /etc -not -path '/etc/fstab' | sort > /before
        apt-get install --yes --quiet --no-install-recommends {tmp_path}/{package.name}
        test -d /usr/lib/mtpfs/mtpfs/__pycache__
        mtpfs --version
        mkdir /mnt/a
        mtpfs virtual:{tmp_path}/phone /mnt/a; cat /mnt/a/*/f; fusermount3 -u /mnt/a
        echo 'virtual:{tmp_path}/phone /mnt/a mtpfs noauto,user,nofail 0 0' > /etc/fstab
        mount /mnt/a; cat /mnt/a/*/f; umount /mnt/a
        dpkg --verify mtpfs
        dpkg --remove mtpfs
        find /usr /etc -not -path '/etc/fstab' | sort | diff /before -
        ! dpkg-query --show mtpfs
        """
    )
    assert output.count("contents") == 2, output


def test_package_and_make_install(package: Path, machine: Machine, tmp_path: Path) -> None:
    """Where one is installed the other is refused, in both orders, and nothing of either is lost."""
    shutil.copy(package, tmp_path)
    machine(
        f"""
        apt-get install --yes --quiet --no-install-recommends {needed_packages()}
        cd {TOP}
        contrib/install install
        ! apt-get install --yes --quiet --no-install-recommends {tmp_path}/{package.name} > /said 2>&1
        grep 'make uninstall' /said
        mtpfs --version; /sbin/mount.mtpfs --version
        contrib/install uninstall
        apt-get install --yes --quiet --no-install-recommends {tmp_path}/{package.name}
        find /usr /etc | sort > /with
        ! contrib/install install 2> /said
        grep 'belongs to the package mtpfs' /said
        find /usr /etc | sort | diff /with -
        dpkg --verify mtpfs
        """
    )
