"""Pictures from a device, decoded at a distance: `child` does it, in a process that can reach nothing.

Bubblewrap gives that process namespaces without network and with no files but Python's and Pillow's, read-only. Where
it isn't installed, or this machine doesn't let it, the process limits itself: see `child`. What comes back is checked
here, so that even a decoder that was taken over can only give another picture.

It blocks, for a few milliseconds mostly, so tasks call it in a thread. Two pictures never are in it at a time.

Invariant: `decode` returns in `PATIENCE` seconds at most (once more as long if the process has to be started),
whatever the bytes are; and no process is left after `close`.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import logging
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mtpfs.errors import FsError, MachineError
from mtpfs.thumbnails import child, png

log = logging.getLogger(__name__)

LARGEST = 4 << 20  # bytes of a picture, and of an answer
PATIENCE = 15.0  # seconds: more than the child allows one picture
_SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/usr")


@dataclass(frozen=True, slots=True)
class Picture:
    """A thumbnail: its width and height as it stands upright, and PNGs by the size that they are for."""

    width: int
    height: int
    pngs: dict[int, bytes]


class UnreadableError(FsError):
    """It isn't a picture, or it is one that can't be decoded within the limits."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EILSEQ, f"what the device sends as a thumbnail is no picture: {reason}")


class _LostError(Exception):
    """The process has ended, or doesn't keep to what was agreed."""


class Decoder:
    """Decodes pictures. The process begins with the first one. Safe to be called by several threads."""

    def __init__(self, *, with_bubblewrap: bool = True) -> None:
        """Raises `MachineError` where Pillow isn't installed."""
        found = importlib.util.find_spec("PIL")
        if found is None or found.origin is None:
            raise MachineError("thumbnails need Pillow: `pip install 'mtpfs[thumbnails]'`, or python3-pil")
        self._library = str(Path(found.origin).parents[1])
        self._bubblewrap = shutil.which("bwrap") if with_bubblewrap else None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_in_bubblewrap(self) -> bool:
        """Tell whether the process has namespaces of its own, or will have."""
        return self._bubblewrap is not None

    def decode(self, data: bytes, sizes: Sequence[int]) -> Picture:
        """Return a picture upright, in the first of `sizes` and in those others that it reaches.

        Its own EXIF says which way that is. Raises `UnreadableError`, and `MachineError` if there can be no process.
        """
        if not 0 < len(data) <= LARGEST:
            raise UnreadableError(f"it has {len(data)} bytes")
        with self._lock:
            # One that has decoded before may have ended for a reason of its own. What ends a fresh one is to blame.
            for is_last in (self._process is None, True):
                if self._is_closed:
                    raise UnreadableError("the decoder is closed")
                if self._process is None:
                    self._process = self._started()
                try:
                    return self._asked(self._process, data, sizes)
                except _LostError as error:
                    self._end()
                    if is_last:
                        raise UnreadableError(str(error)) from None
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """End the process, also in the middle of a picture. There is no other one after that."""
        self._is_closed = True
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with self._lock:
            self._end()

    # --- the process -------------------------------------------------------------------

    def _started(self) -> subprocess.Popen[bytes]:
        for inside in [self._bubblewrap, None] if self._bubblewrap else [None]:
            process = subprocess.Popen(
                self._command(inside),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd="/",
                env={"LANG": "C.UTF-8"},
                start_new_session=True,
            )
            said = b""
            with contextlib.suppress(_LostError):
                said = _status(process, time.monotonic() + PATIENCE, b"")[0]
            if said == child.READY:
                return process
            said += _rest(process)
            _kill(process)
            reason = said.decode("utf-8", "replace").strip()[-500:]
            if inside:
                log.warning("pictures are decoded under limits alone, as bubblewrap doesn't work: %s", reason)
                self._bubblewrap = None
        raise MachineError(f"the process that decodes thumbnails doesn't begin: {reason}")

    def _command(self, bubblewrap: str | None) -> list[str]:
        program = Path(child.__file__)
        interpreter = os.path.realpath(sys.executable)
        python = [interpreter, "-I", "-S", str(program), self._library]
        if bubblewrap is None:
            return python
        words = [bubblewrap, "--unshare-all", "--uid", str(child.NOBODY), "--gid", str(child.NOBODY)]
        for path in map(Path, _SYSTEM):
            if path.is_symlink():
                words += ["--symlink", str(path.readlink()), str(path)]
            elif path.is_dir():
                words += ["--ro-bind", str(path), str(path)]
        own = {sys.base_prefix, str(Path(interpreter).parent), self._library, str(program)}
        for place in sorted(own):
            if not place.startswith("/usr/") and place != "/usr":
                words += ["--ro-bind", place, place]
        words += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
        return [*words, "--chdir", "/", "--clearenv", "--cap-drop", "ALL", "--", *python]

    def _asked(self, process: subprocess.Popen[bytes], data: bytes, sizes: Sequence[int]) -> Picture:
        request = child.REQUEST.pack(len(data), len(sizes))
        request += struct.pack(f"<{len(sizes)}H", *sizes) + data
        status, answer = _status(process, time.monotonic() + PATIENCE, request)
        if status == child.FAILED:
            raise UnreadableError("it can't be decoded")
        if status != child.DONE:
            raise _LostError("the decoder doesn't answer as agreed")
        return _picture(answer, sizes)

    def _end(self) -> None:
        if self._process is not None:
            _kill(self._process)
            self._process = None


def _status(process: subprocess.Popen[bytes], until: float, request: bytes) -> tuple[bytes, bytes]:
    """Send a request; return the byte that ends it, and what came before. Raises `_LostError`."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    view, answer, status = memoryview(request), bytearray(), b""
    os.set_blocking(process.stdin.fileno(), False)
    while not status:
        left = until - time.monotonic()
        readable, writable, _ = select.select(
            [process.stdout, process.stderr], [process.stdin] if view else [], [], max(0.0, left)
        )
        if not readable and not writable:
            raise _LostError("it takes too long")
        if writable:
            try:
                view = view[os.write(process.stdin.fileno(), view) :]
            except BrokenPipeError as error:
                raise _LostError("the decoder has ended") from error
        if process.stderr in readable:
            status = os.read(process.stderr.fileno(), 1)
            if not status:
                raise _LostError("the decoder has ended")
        # What was written before the status is in the pipe, so one more look finds all of it.
        while select.select([process.stdout], [], [], 0)[0]:
            piece = os.read(process.stdout.fileno(), 1 << 16)
            answer += piece
            if len(answer) > LARGEST:
                raise _LostError("the decoder says too much")
            if not piece:
                break
    return status, bytes(answer)


def _rest(process: subprocess.Popen[bytes]) -> bytes:
    """Return what a process that hasn't begun has said about that."""
    assert process.stderr is not None
    found = b""
    while select.select([process.stderr], [], [], 0)[0] and (piece := os.read(process.stderr.fileno(), 4096)):
        found += piece
    return found


def _picture(answer: bytes, sizes: Sequence[int]) -> Picture:
    """Take an answer apart, and look at each part. Raises `_LostError`."""
    try:
        width, height, count = child.REPLY.unpack_from(answer)
        position, pngs = child.REPLY.size, dict[int, bytes]()
        for _ in range(count):
            size, length = child.PART.unpack_from(answer, position)
            position += child.PART.size
            data = answer[position : position + length]
            position += length
            if size not in sizes:
                raise ValueError(f"nobody has asked for {size} pixels")
            png.checked(data, size)
            pngs[size] = data
        if position != len(answer) or sizes[0] not in pngs:
            raise ValueError("not what was agreed")
    except (ValueError, struct.error) as error:
        raise _LostError(f"the decoder's answer is wrong: {error}") from error
    return Picture(width, height, pngs)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()
