"""Installing: what the commands are built from, and a machine of one's own to install on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mount.conftest import run

TOP = Path(__file__).parents[2]
Machine = Callable[[str], str]

_ENTER = r"""
set -e
# A copy of another test's mount would keep that alive after its unmounting.
umount --all --types fuse.mtpfs --lazy
mount -t tmpfs machine "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" machine "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mknod -m 666 "$1/fuse" c 10 229  # as udev makes it, which may not run here
mount --bind "$1/fuse" "$1/root/dev/fuse"
mount --rbind /sys "$1/root/sys"
mount -t tmpfs run "$1/root/run"
mkdir -p "$1/root$2" "$1/root$3"
mount --bind "$2" "$1/root$2"
mount --bind "$3" "$1/root$3"
# If this machine has mtpfs already, the copy is to be without.
without='
if [ -e /usr/local/lib/mtpfs/installed ]; then "$0/contrib/install" uninstall; fi
if dpkg-query --show mtpfs; then dpkg --purge mtpfs; fi
rm -f /sbin/mount.mtpfs /sbin/mount.fuse.mtpfs
rm -f /var/lib/man-db/auto-update  # whose index of all man pages takes longer than the rest
'
chroot "$1/root" bash -ec "$without" "$2" > "$1/without" 2>&1 || { cat "$1/without"; exit 1; }
exec chroot "$1/root" bash -euxc "$4"
"""
"""Arguments: an empty directory, the repository, the test's own directory, the script."""


@pytest.fixture(scope="session", autouse=True)
def system_interpreter() -> Iterator[None]:
    """Install for the system's Python, whichever one runs the tests (`make test PYTHON=...`)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHON", raising=False)
        yield


@pytest.fixture(scope="session")
def built(system_interpreter: None) -> None:
    """Have the libraries built; costs nothing if they are."""
    run(TOP / "contrib/install", "build")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return what runs a script as root on a copy of this machine, which is gone afterwards.

    The copy is an overlay in a mount namespace; only the test's directory is shared with it.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if "overlay" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no overlay filesystem")

    def enter(script: str) -> str:
        base = tmp_path / "machine"
        base.mkdir(exist_ok=True)
        # The namespaces' end takes all mounts along, and all processes that the script has left.
        words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", _ENTER, "machine"]
        result = subprocess.run(
            [*words, base, TOP, tmp_path, script],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        return result.stdout

    try:
        enter("true")
    except AssertionError as error:
        pytest.skip(f"no mount namespaces here: {error}")
    return enter
