"""The mount's side of the socket: what its owner may ask for beyond system calls.

It stands on the vfs, beside the kernel's adapter, and has no rights that a program on the mount hasn't: `ro` forbids
copies here, too, by the same rules. Thumbnails wait for whatever else is to be done. What appears without the kernel's
doing is told to windows that are open, as if the phone had done it.

One request at a time for each connection, of which there are few. A client that goes away, or says something it
shouldn't, is cancelled and forgotten. Nothing here ends the mount.

Invariant: nobody but the mount's own user gets an answer.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import trio

from mtpfs.device import Rank
from mtpfs.door import words
from mtpfs.errors import FsError, MtpfsError
from mtpfs.vfs import Filesystem, News, Node

log = logging.getLogger(__name__)

MOST = 8  # connections that are answered at a time; others wait
PIECE = 64 << 10

Answer = dict[str, Any]


@contextlib.contextmanager
def opened() -> Iterator[socket.socket | None]:
    """Have a socket that listens, with its file, for the block; None where there is no place for one.

    `getsockname()` tells the place.
    """
    directory = words.runtime_directory()
    if directory is None:
        yield None
        return
    place = directory / "mtpfs" / f"mount-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        try:
            place.parent.mkdir(mode=0o700, exist_ok=True)
            if len(os.fsencode(place)) > words.LONGEST_PLACE:
                raise OSError(errno.ENAMETOOLONG, "the path of the socket is too long")
            with contextlib.suppress(FileNotFoundError):
                place.unlink()  # of a process that had our number and was killed
            listening.bind(os.fsencode(place))
            place.chmod(0o600)  # nobody else can enter the directory meanwhile
            listening.listen(MOST)
        except OSError as error:
            log.warning("there is no socket for commands: %s", error)
            yield None
            return
        try:
            yield listening
        finally:
            with contextlib.suppress(FileNotFoundError):
                place.unlink()


class Door:
    """Answers requests about one mount. `heard` is told what has appeared on it."""

    def __init__(self, fs: Filesystem, heard: Callable[[News, Node], None]) -> None:
        self._fs = fs
        self._heard = heard
        self._asked: dict[str, Callable[[Answer], Awaitable[Answer]]] = {
            "thumbnail": self._thumbnail,
            "copy": self._copy,
        }

    async def serve(self, listening: socket.socket) -> None:
        """Answer whoever comes, until cancelled."""
        places = trio.CapacityLimiter(MOST)

        async def connection(stream: trio.SocketStream) -> None:
            async with places, stream:
                try:
                    await self._connected(stream)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    log.debug("a command has gone before it had its answer")
                except Exception:  # a bug in an answer must cost no more than that answer
                    log.exception("a command's request")

        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening.dup()))
        await trio.serve_listeners(connection, [listener])

    async def _connected(self, stream: trio.SocketStream) -> None:
        if words.is_own(stream):
            await self._converse(stream)
        else:
            log.warning("another user's process has come to the socket for commands")

    async def _converse(self, stream: trio.SocketStream) -> None:
        kept = bytearray()
        while (line := await _line(stream, kept)) is not None:
            answers: list[Answer] = []
            async with trio.open_nursery() as nursery:

                async def watch(scope: trio.CancelScope) -> None:
                    # Nothing may come before the answer: it is the end, or something that nobody has agreed on.
                    with contextlib.suppress(trio.BrokenResourceError):
                        kept.extend(await stream.receive_some(PIECE))
                    scope.cancel()

                nursery.start_soon(watch, nursery.cancel_scope)
                answers.append(await self._answer(line))
                nursery.cancel_scope.cancel()
            if not answers:
                return
            await stream.send_all(words.encoded(answers[0]))

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = words.decoded(line)
            ask = self._asked.get(request.get("do", ""))
            if ask is None:
                raise FsError(errno.EOPNOTSUPP, "the mount doesn't know this request")
            for last in (False, True):
                try:
                    return await ask(request)
                except MtpfsError as error:
                    if last or error.errno != errno.ESTALE:
                        raise
            raise AssertionError("the last try returns or raises")
        except (ValueError, TypeError) as error:
            return {"error": {"errno": errno.EINVAL, "text": f"this is no request: {error}"}}
        except MtpfsError as error:
            return {"error": {"errno": error.errno, "text": str(error)}}
        except OSError as error:
            return {"error": {"errno": error.errno or errno.EIO, "text": error.strerror or str(error)}}

    # --- requests ----------------------------------------------------------------------

    async def _thumbnail(self, request: Answer) -> Answer:
        node = await self._node(_names(request, "path"))
        if node.is_folder:
            raise FsError(errno.EISDIR)
        data = await self._fs.thumbnail(node, Rank.BACKGROUND)
        return {"data": base64.b64encode(data).decode("ascii")}

    async def _copy(self, request: Answer) -> Answer:
        node = await self._node(_names(request, "source"))
        *above, name = _names(request, "target") or [b""]
        if not name:
            raise FsError(errno.EBUSY, "the top directory can't be changed")
        directory = await self._node(above)
        await self._fs.tree.ensure_listed(directory)
        if name in directory.children:
            raise FsError(errno.EEXIST)
        self._heard(News.APPEARED, await self._fs.copy(node, directory, name))
        return {}

    async def _node(self, names: list[bytes]) -> Node:
        node = self._fs.tree.root
        for name in names:
            node = await self._fs.tree.child(node, name)
        await self._fs.refresh(node)
        return node


async def _line(stream: trio.SocketStream, kept: bytearray) -> bytes | None:
    """Return the next line; None at the end, and for one that is too long."""
    while (end := kept.find(b"\n")) < 0:
        piece = await stream.receive_some(PIECE) if len(kept) <= words.REQUEST_LIMIT else b""
        if not piece:
            return None
        kept += piece
    line = bytes(kept[:end])
    del kept[: end + 1]
    return line if len(line) <= words.REQUEST_LIMIT else None


def _names(request: Answer, key: str) -> list[bytes]:
    """Return the names of a path. Raises `ValueError` if it is none."""
    path = request.get(key)
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise ValueError(f"{key} has to be a path that begins with a slash")
    names = [os.fsencode(name) for name in path.split("/") if name]
    if b"." in names or b".." in names:
        raise ValueError(f"{key} has to be without dots")
    return names


def place_of(listening: socket.socket | None) -> str:
    """Return where a socket is, for whom it may concern; "" where there is none."""
    return os.fsdecode(listening.getsockname()) if listening is not None else ""
