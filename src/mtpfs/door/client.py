"""The commands' side of a mount's socket. Blocks.

Invariant: nothing is said to another user's process, whatever a mount gives as the place of its socket.
"""

from __future__ import annotations

import base64
import binascii
import errno
import os
import socket
from types import TracebackType
from typing import Any, Self

from mtpfs.door import words

PIECE = 256 << 10


class DoorClient:
    """A connection to a mount. All methods raise `OSError`, with what the mount says."""

    def __init__(self, place: str) -> None:
        """`place` is what the mount tells in its statistics."""
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(os.fsencode(place))
            if not words.is_own(self._connection):
                raise OSError(errno.EACCES, "another user's process answers for the mount")
        except BaseException:
            self._connection.close()
            raise
        self._kept = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Go away. A request that hasn't been answered is cancelled."""
        self._connection.close()

    def thumbnail(self, path: str) -> bytes:
        """Return the phone's thumbnail of a file; ENODATA where it has none. It may take long while others are busy."""
        try:
            return base64.b64decode(self._asked({"do": "thumbnail", "path": path})["data"], validate=True)
        except (KeyError, TypeError, binascii.Error) as error:
            raise OSError(errno.EIO, "the mount's answer makes no sense") from error

    def copy(self, source: str, target: str) -> None:
        """Have the phone copy a file or a directory to a name that is free. EOPNOTSUPP where it can't."""
        self._asked({"do": "copy", "source": source, "target": target})

    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        line = words.encoded(request)
        if len(line) > words.REQUEST_LIMIT:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        self._connection.sendall(line)
        while (end := self._kept.find(b"\n")) < 0:
            piece = self._connection.recv(PIECE) if len(self._kept) <= words.ANSWER_LIMIT else b""
            if not piece:
                raise OSError(errno.ENOTCONN, "the mount has ended")
            self._kept += piece
        line = bytes(self._kept[:end])
        del self._kept[: end + 1]
        try:
            answer = words.decoded(line)
            error = answer.get("error")
            if error is not None:
                code, text = int(error["errno"]), str(error["text"])
                said = os.strerror(code)
                raise OSError(code, said if text in {"", errno.errorcode.get(code)} else f"{said} ({text})")
        except (ValueError, KeyError, TypeError) as wrong:
            raise OSError(errno.EIO, "the mount's answer makes no sense") from wrong
        return answer
