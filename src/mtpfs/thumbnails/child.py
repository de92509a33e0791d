"""The program that looks at pictures from a device: bytes in, small PNGs out, and nothing else within its reach.

It is started by `decoder`, in bubblewrap's namespaces where that is installed, and knows nothing of mtpfs. When
Pillow is loaded it gives up what it can: files and sockets, new privileges, memory. Then it forks for each picture.
So a picture that crashes its decoder, or takes it over, costs one process, and the next one costs a few milliseconds.
What a fork may use is limited once more: two seconds of CPU, no process of its own. What sleeps instead is killed.

Standard input: for each picture `REQUEST`, the sizes, the bytes. Standard output: `REPLY`, then for each size `PART`
and a PNG; nothing for what isn't a picture. Standard error: one byte when it is ready, and one when a picture is done
with.

Invariant: when the first byte of a device's is read, no file can be opened any more.
"""

from __future__ import annotations

import ctypes
import io
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any

REQUEST = struct.Struct("<IB")
"""Bytes of the picture, how many sizes follow as u16, the smallest first."""
REPLY = struct.Struct("<HHB")
"""Width and height as it stands upright, and how many sizes follow."""
PART = struct.Struct("<HI")
"""Size, bytes of the PNG."""
READY, DONE, FAILED = b"R", b"D", b"F"
MEMORY = 512 << 20  # bytes of address space
CPU = 2  # seconds for one picture
PATIENCE = 5  # seconds of real time for one picture
MOST_PIXELS = 24_000_000  # a thumbnail has far fewer
LEAST_SIDE = 16
NOBODY = 65534
_SET_DEATH_SIGNAL, _SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 1, 4, 38
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""By Landlock's version, how many kinds of access to files it knows."""

Shrink = Callable[[bytes, Sequence[int]], bytes]


def main() -> None:
    sys.path.append(sys.argv[1])
    shrink = _loaded()
    _give_up()
    os.write(2, READY)
    while (header := _read(REQUEST.size)) is not None:
        size, count = REQUEST.unpack(header)
        sizes, data = _read(2 * count), _read(size)
        if sizes is None or data is None:
            return
        os.write(2, _in_a_fork(shrink, data, struct.unpack(f"<{count}H", sizes)))


def _loaded() -> Shrink:
    """Load Pillow, and what it loads when it is first used."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - its place was told by an argument

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS // 2  # twice as many are an error to Pillow

    def shrink(data: bytes, sizes: Sequence[int]) -> bytes:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as opened:
            if opened.width * opened.height > MOST_PIXELS or max(opened.size) < LEAST_SIDE:
                raise ValueError("no thumbnail has this size")
            opened.draft("RGB", (2 * max(sizes), 2 * max(sizes)))  # a JPEG is decoded no larger than that
            has_alpha = "A" in opened.getbands() or "transparency" in opened.info
            picture = ImageOps.exif_transpose(opened).convert("RGBA" if has_alpha else "RGB")
        parts = []
        for size in sizes:
            if size == sizes[0] or max(picture.size) >= size:
                smaller = picture.copy()
                smaller.thumbnail((size, size))
                output = io.BytesIO()
                smaller.info.clear()
                smaller.save(output, "PNG")
                parts.append(PART.pack(size, output.tell()) + output.getvalue())
        return REPLY.pack(*picture.size, len(parts)) + b"".join(parts)

    for kind in ("JPEG", "PNG"):
        sample, tags = io.BytesIO(), Image.Exif()
        tags[0x0112] = 6
        Image.new("RGB", (64, 64)).save(sample, kind, exif=tags)
        shrink(sample.getvalue(), (32, 64))
    return shrink


def _give_up() -> None:
    """Have nothing any more but three pipes, memory, and the right to fork."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what the interpreter keeps open: Python 3.14 has one
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0)
    _forbid_paths(libc)
    _limit(resource.RLIMIT_AS, MEMORY)
    for nothing in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
        _limit(nothing, 0)


def _forbid_paths(libc: Any) -> None:
    """Have the kernel refuse every path, also to remove or to run it (Landlock), where it is new enough to."""
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return  # it hasn't got it: then the limits are what there is
    files = (1 << _LANDLOCK_FILES.get(version, 16)) - 1
    terms = [
        files,
        *([3] if version >= 4 else []),
        *([3] if version >= 6 else []),
    ]  # TCP; signals and sockets
    rules = (ctypes.c_uint64 * len(terms))(*terms)
    descriptor = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0)
    if descriptor < 0 or libc.syscall(_LANDLOCK_RESTRICT, descriptor, 0):
        raise OSError(ctypes.get_errno(), "Landlock")
    os.close(descriptor)


def _limit(what: int, value: int) -> None:
    resource.setrlimit(what, (value, value))


def _in_a_fork(shrink: Shrink, data: bytes, sizes: Sequence[int]) -> bytes:
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(2)
            ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            _limit(resource.RLIMIT_CPU, CPU)
            _limit(resource.RLIMIT_NPROC, 0)
            _write(shrink(data, sizes))
            status = 0
        finally:  # whatever it was, it is told by the status
            os._exit(status)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(PATIENCE)
    _, status = os.waitpid(child, 0)
    signal.alarm(0)
    return FAILED if status else DONE


def _read(count: int) -> bytes | None:
    """Read so many bytes; None at the end, also in the middle of them."""
    pieces = bytearray()
    while len(pieces) < count:
        piece = os.read(0, min(count - len(pieces), 1 << 16))
        if not piece:
            return None
        pieces += piece
    return bytes(pieces)


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
