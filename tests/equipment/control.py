"""The hand that holds a virtual phone: words that make it misbehave, lock, unplug.

Strategy: one line, one word, one answer (`done: WORD…` or `error: …`), the same on
a socket (`held`, for a phone that is a mount's own) and on the standard input of
`functionfs`. An answer says that it has happened.

    KIND [OPERATION] …   a fault to come (see `parse_fault`)
    forget               no fault is to come any more
    struck               waits until all faults have struck
    tally                answers with how many of each kind have struck so far
    lock, unlock         the screen: storages go and come
    trusted, untrusted   the answer to "Trust this computer?"
    unplug, plug         the cable
    renumber             every object gets a new handle, and the host an event that says so

Invariant: a word that isn't understood changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Protocol

from mtpfs.errors import SetupError
from mtpfs.virtual.faults import FaultScript, parse_fault

_PAUSE = 0.05  # seconds between two looks whether a fault has struck
_LONGEST_LINE = 4096  # bytes


class Holdable(Protocol):
    """A phone that somebody can hold in his hand."""

    @property
    def faults(self) -> FaultScript:
        """The faults still to come."""

    def unplug(self) -> None:
        """Pull the cable."""

    def replug(self) -> None:
        """Put the cable back."""

    def set_locked(self, locked: bool) -> None:
        """Lock or unlock the screen."""

    def set_trusted(self, trusted: bool) -> None:
        """Answer "Trust this computer?"."""

    def renumber(self) -> None:
        """Give every object a new handle."""


def obey(phone: Holdable, line: str) -> str:
    """Do what a line says; return the line to answer."""
    line = line.strip()
    try:
        more = _do(phone, line)
    except SetupError as error:
        return f"error: {error}"
    return " ".join(filter(None, ["done:", line, more]))


def _do(phone: Holdable, word: str) -> str:
    match word:
        case "unplug":
            phone.unplug()
        case "plug":
            phone.replug()
        case "lock" | "unlock":
            phone.set_locked(word == "lock")
        case "trusted" | "untrusted":
            phone.set_trusted(word == "trusted")
        case "renumber":
            phone.renumber()
        case "forget":
            phone.faults.clear()
        case "struck":
            while phone.faults.pending:
                time.sleep(_PAUSE)
        case "tally":
            kinds = Counter(fault.kind.name.lower().replace("_", "-") for fault in phone.faults.struck)
            return " ".join(f"{kind}={count}" for kind, count in sorted(kinds.items()))
        case "":
            raise SetupError("an empty line says nothing")
        case _:
            phone.faults.add(parse_fault(word))
    return ""


class ControlSocket:
    """A Unix socket that obeys whoever may open it: the user himself. Raises `SetupError`."""

    def __init__(self, path: Path, phone: Holdable) -> None:
        self._path = path
        self._phone = phone
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()  # left by one that was killed
            os.fchmod(self._listener.fileno(), 0o600)
            self._listener.bind(os.fspath(path))
        except OSError as error:
            self._listener.close()
            raise SetupError(f"no control socket can be made at {path}: {error.strerror or error}") from error
        self._listener.listen()
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        """Remove the socket; conversations that are open end by themselves."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which closing alone doesn't
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._converse, args=(connection,), name="control", daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),  # the other side has gone
            connection,
            connection.makefile("rw", encoding="utf-8", errors="replace") as stream,
        ):
            while line := stream.readline(_LONGEST_LINE):
                print(obey(self._phone, line), file=stream, flush=True)
