"""The cable: clock, plug, close."""

from __future__ import annotations

import threading
import time
from array import array
from pathlib import Path

import pytest

from mtpfs.errors import TransportGoneError, TransportTimeoutError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.transport import Transport
from mtpfs.virtual.transport import open_virtual
from virtual.conftest import Connect


def test_it_is_a_transport(root: Path) -> None:
    """And says where it is."""
    transport: Transport = open_virtual(f"virtual:{root}", max_packet=1024)
    assert transport.name == f"virtual:{root}"
    assert transport.max_packet == 1024
    transport.close()


def test_a_timeout_takes_no_time(connect: Connect) -> None:
    """The transport's own clock moves instead, by what was asked for."""
    phone = connect()
    started, real = phone.transport.monotonic(), time.monotonic()
    with pytest.raises(TransportTimeoutError):
        phone.transport.read(phone.buffer, 120)
    phone.transport.sleep(60)
    assert phone.transport.monotonic() - started >= 180
    assert time.monotonic() - real < 5


def test_real_waiting(connect: Connect) -> None:
    """Where somebody wants it."""
    waited: list[float] = []
    phone = connect(sleeper=waited.append)
    with pytest.raises(TransportTimeoutError):
        phone.transport.read(phone.buffer, 7)
    assert waited == [7]


def test_unplugged(connect: Connect, root: Path) -> None:
    """Every call says so; a waiting one is woken."""
    phone = connect()
    transport = phone.transport
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            transport.read_event(30)
        except TransportGoneError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    transport.unplug()
    thread.join(10)
    assert len(caught) == 1
    for call in (
        lambda: transport.write(bytes(12), 1),
        lambda: transport.read(phone.buffer, 1),
        lambda: transport.read_event(1),
        transport.clear_halt,
        lambda: transport.cancel(1),
        transport.device_status,
        transport.reopen,
    ):
        with pytest.raises(TransportGoneError):
            call()


def test_plugged_in_again(connect: Connect, root: Path) -> None:
    """The same phone and the same files, but another MTP service: handles start anew, the session is gone."""
    (root / "a").touch()
    phone = connect("serial=S")
    phone.handles()
    (root / "b").touch()
    phone.upload("c", b"x")
    phone.transport.unplug()
    phone.transport.replug()
    assert phone.transport.reconnect()
    assert phone.do(Operation.GetStorageIDs).code == Response.SessionNotOpen
    phone.open()
    assert sorted(phone.handles()) == [1, 2, 3]


def test_reopen_keeps_quiet(connect: Connect) -> None:
    """On the transport's clock; the phone notices nothing."""
    phone = connect()
    started = phone.transport.monotonic()
    phone.transport.reopen()
    assert phone.transport.monotonic() - started >= 1
    phone.handles()


def test_close(connect: Connect) -> None:
    """Twice is once; afterwards there is no device."""
    transport = connect().transport
    transport.close()
    transport.close()
    with pytest.raises(TransportGoneError):
        transport.read(array("B", bytes(512)), 1)
