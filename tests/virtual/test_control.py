"""Words that a phone obeys, on a socket."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import closing
from pathlib import Path

import pytest

from equipment.control import ControlSocket
from equipment.conversation import conversation
from mtpfs.errors import SetupError, TransportGoneError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.virtual.faults import Fault, Kind
from virtual.conftest import Connect


def test_everything_that_can_be_said(connect: Connect, root: Path, tmp_path: Path) -> None:
    """Each word is answered when it has happened."""
    (root / "f").touch()
    path = tmp_path / "control"
    phone = connect()
    socket_closed = closing(ControlSocket(path, phone.transport))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket_closed, conversation(path) as say, conversation(path) as neighbour:
        assert say("lock") == "done: lock"
        assert phone.do(Operation.GetObjectHandles, 0x10001, 0, 0).code == Response.InvalidStorageID
        assert neighbour("unlock") == "done: unlock"
        assert phone.handles() == [1]
        assert say("renumber") == "done: renumber"
        assert phone.handles() == [2]
        assert say("busy GetDeviceInfo times=2") == "done: busy GetDeviceInfo times=2"
        assert say("stall") == "done: stall"
        assert phone.do(Operation.GetDeviceInfo).code == Response.DeviceBusy
        assert say("tally") == "done: tally busy=1"
        assert say("forget") == "done: forget"
        assert say("struck") == "done: struck"
        assert phone.do(Operation.GetDeviceInfo).ok
        assert say("unplug") == "done: unplug"
        with pytest.raises(TransportGoneError):
            phone.do(Operation.GetDeviceInfo)
        assert say("plug") == "done: plug"
        with pytest.raises(TransportGoneError):  # it is another connection
            phone.do(Operation.GetDeviceInfo)
        assert phone.transport.reconnect()
        phone.open()
        assert phone.handles() == [1]


def test_mistakes_are_answered(connect: Connect, tmp_path: Path) -> None:
    """What isn't understood changes nothing, and the conversation goes on."""
    path = tmp_path / "control"
    phone = connect()
    with closing(ControlSocket(path, phone.transport)), conversation(path) as say:
        for nonsense in ("", "sing", "stall Nonsense", "busy times=x"):
            assert say(nonsense).startswith("error: ")
        assert not phone.transport.faults.pending
        assert say("silence skip=3") == "done: silence skip=3"
        assert phone.transport.faults.pending == (Fault(Kind.SILENCE, skip=3),)


def test_socket_comes_and_goes(connect: Connect, tmp_path: Path) -> None:
    """One that a killed phone has left is replaced; anything else at its place is left alone."""
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(path))
    transport = connect().transport
    with closing(ControlSocket(path, transport)), conversation(path) as say:
        assert say("struck") == "done: struck"
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(SetupError, match="control"):
        ControlSocket(path, transport)
    assert path.read_text() == "precious"
