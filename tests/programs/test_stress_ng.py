"""stress-ng: system calls on files in unusual orders and with unusual arguments, each result looked at (`--verify`)."""

from __future__ import annotations

import pytest

from mount.conftest import Mount, run

STRESSORS: dict[str, tuple[str, ...]] = {
    "aio": (),
    "aiol": (),
    "chattr": (),
    "chmod": (),
    "chown": (),
    "copy-file": ("--copy-file-bytes", "128m"),
    "dentry": (),
    "dir": (),
    "dirdeep": ("--dirdeep-inodes", "200"),
    "dirmany": (),
    "dnotify": (),
    "dup": (),
    "fallocate": ("--fallocate-bytes", "8m"),
    "fanotify": (),
    "fcntl": (),
    "file-ioctl": (),
    "filename": (),
    "flock": (),
    "fpunch": (),
    "fsize": (),
    "fstat": (),
    "getdent": (),
    "handle": (),
    "hdd": ("--hdd-bytes", "8m"),
    "inode-flags": (),
    "inotify": (),
    "io": (),
    "io-uring": (),
    "iomix": ("--iomix-bytes", "8m"),
    "lease": (),
    "locka": (),
    "lockf": (),
    "lockofd": (),
    "mknod": (),
    "mmap": ("--mmap-file", "--mmap-bytes", "4m"),
    "msync": ("--msync-bytes", "4m"),
    "open": (),
    "readahead": ("--readahead-bytes", "8m"),
    "rename": (),
    "revio": ("--revio-bytes", "8m"),
    "seek": ("--seek-size", "4m"),
    "sendfile": (),
    "splice": (),
    "sync-file": ("--sync-file-bytes", "8m"),
    "touch": (),
    "utime": (),
}
"""What makes sense on a phone's files, with what keeps it short.

Left out of the classes `filesystem` and `io`, for what MTP or FUSE hasn't got:

- link, symlink: links
- xattr, verity, fiemap: extended attributes, fs-verity, maps of extents
- access: modes that chmod changes
- chdir: nothing but 8192 directories, which take a phone a minute to make
- bind-mount, binderfs, eventfd, ioprio, procfs, rawdev: they aren't about files of this filesystem
"""
_SKIPPED = 3
"""The status of a stressor that found nothing to do."""


@pytest.mark.parametrize("stressor", STRESSORS)
def test_stressor(mounted: Mount, stressor: str) -> None:
    """The stressor finds no wrong result and leaves nothing behind."""
    words = (
        f"--{stressor}",
        "1",
        f"--{stressor}-ops",
        "20",
        "--timeout",
        "4",
        "--verify",
        *STRESSORS[stressor],
    )
    result = run("stress-ng", *words, "--temp-path", ".", cwd=mounted.root, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [path.name for path in mounted.phone.iterdir()] == []
