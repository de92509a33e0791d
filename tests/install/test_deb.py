"""`make deb`: a package that Debian installs, that works, and that goes away without a trace."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from install.conftest import TOP, Machine
from mount.conftest import run

pytestmark = [
    pytest.mark.usefixtures("built"),
    pytest.mark.skipif(
        not (shutil.which("dpkg-deb") and shutil.which("dpkg-shlibdeps")), reason="not Debian, or no dpkg-dev"
    ),
]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package."""
    directory = tmp_path_factory.mktemp("package")
    run(TOP / "contrib/deb/build", directory)
    (package,) = directory.glob("mtpfs_*.deb")
    return package


def test_package(package: Path, tmp_path: Path) -> None:
    """Its control file names what it needs, its contents are root's, and every library's licence is told."""
    depends = run("dpkg-deb", "--field", package, "Depends").stdout
    for needed in ("libc6", "libfuse3-3", "fuse3", "libusb-1.0-0", "python3 (>= 3.", "python3 (<< 3."):
        assert needed in depends
    assert "@" not in run("dpkg-deb", "--field", package).stdout.replace("mtpfs@packages", "")
    assert all(
        line.split()[1] == "root/root" for line in run("dpkg-deb", "--contents", package).stdout.splitlines()
    )
    run("dpkg-deb", "--extract", package, tmp_path / "root")
    shipped = {path.name for path in (tmp_path / "root/usr/lib/mtpfs").iterdir()}
    assert "mtpfs" in shipped
    copyright_text = (tmp_path / "root/usr/share/doc/mtpfs/copyright").read_text()
    for name in shipped:
        if name.endswith(".dist-info"):
            assert re.search(rf"\b{name.split('-')[0]}\b", copyright_text), name


def test_installed(package: Path, machine: Machine, tmp_path: Path) -> None:
    """Installed by apt it mounts, by itself and by mount(8); removed, it leaves nothing."""
    shutil.copy(package, tmp_path)
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone/f").write_text("contents")
    output = machine(
        f"""
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
