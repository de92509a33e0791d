"""The child process of a mount that touches the mount from outside: a script, `hand.py MOUNTPOINT DEVICE`.

What it does, and why, is told in `echo.py`. It imports nothing of ours, so it starts fast and stays small. It must not
have `/dev/fuse` open: when a mount is killed while this process waits for its answer, the kernel has to notice.

On standard input come calls, each of three words that end in a zero byte: what to do, the directory on the mount, the
name in it. The answer to each is a line, its errno. The end of the input ends it.

Invariant: nothing but the mount is touched. When it has been unmounted meanwhile, the same path leads elsewhere. So
each directory is opened first, and it counts only if it is on the mount's DEVICE. Directories are opened by O_PATH,
which asks the mount nothing, and closed after each call, because what is open keeps a mount from being unmounted.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def touch(mountpoint: bytes, device: int, word: bytes, folder: bytes, name: bytes) -> None:
    """Do one thing. Raises `OSError`; ENODEV if it would be on another filesystem."""
    root = os.open(mountpoint, _OPEN)
    try:
        if os.fstat(root).st_dev != device:
            raise OSError(errno.ENODEV, "not the mount")
        directory = os.open(folder or b".", _OPEN, dir_fd=root)
    finally:
        os.close(root)
    try:
        _touch_in(directory, device, word, name or b".")
    finally:
        os.close(directory)


def _touch_in(directory: int, device: int, word: bytes, name: bytes) -> None:
    if os.fstat(directory).st_dev != device:
        raise OSError(errno.ENODEV, "another mount")
    match word:
        case b"mknod":
            os.mknod(name, 0o600 | stat.S_IFREG, dir_fd=directory)
        case b"mkdir":
            os.mkdir(name, dir_fd=directory)
        case b"unlink":
            os.unlink(name, dir_fd=directory)
        case b"rmdir":
            os.rmdir(name, dir_fd=directory)
        case b"utime":
            if os.stat(name, dir_fd=directory, follow_symlinks=False).st_dev != device:
                raise OSError(errno.ENODEV, "another mount")
            os.utime(name, dir_fd=directory, follow_symlinks=False)
        case b"look":
            os.stat(name, dir_fd=directory, follow_symlinks=False)
        case _:
            raise OSError(errno.EINVAL, "not a word")


def main(mountpoint: bytes, device: int) -> None:
    """Do what comes in, one after the other."""
    waiting = b""
    while arrived := os.read(0, 1 << 16):
        waiting += arrived
        while waiting.count(b"\0") >= 3:
            word, folder, name, waiting = waiting.split(b"\0", 3)
            code = 0
            try:
                touch(mountpoint, device, word, folder, name)
            except OSError as error:
                code = error.errno or errno.EIO
            os.write(1, b"%d\n" % code)


if __name__ == "__main__":
    main(os.fsencode(sys.argv[1]), int(sys.argv[2]))
