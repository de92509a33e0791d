"""Packets and containers on their way in, and what a phone does about an initiator's mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mtpfs.errors import TransportTimeoutError
from mtpfs.protocol.codes import ROOT_PARENT, ContainerType, Operation, Response
from mtpfs.protocol.containers import Container, encode_header
from mtpfs.protocol.datasets import ObjectInfo
from virtual.conftest import Complaints, Connect
from virtual.initiator import INTERNAL, Initiator


def assert_dead(phone: Initiator) -> None:
    """The server loop ended: nothing is answered."""
    phone.command(Operation.GetDeviceInfo)
    with pytest.raises(TransportTimeoutError):
        phone.read()


@pytest.mark.parametrize(
    "transfer",
    [
        b"",
        b"\x0c\0\0\0",
        bytes(512),
        b"\x10\0\0\0\x01\0\x01\x10\x01\0\0\0",
        bytes.fromhex("24000000 0100 0110 01000000") + bytes(24),
    ],
    ids=["zero-length packet", "cut off", "zeros", "wrong length", "six parameters"],
)
def test_no_command(connect: Connect, complaints: Complaints, transfer: bytes) -> None:
    """Above all a zero-length packet too many: the server loop ends."""
    phone = connect()
    phone.transport.write(transfer, 1)
    assert_dead(phone)
    assert "server loop ends" in complaints()[0]


def test_a_new_plug_helps(connect: Connect, complaints: Complaints) -> None:
    phone = connect()
    phone.transport.write(b"", 1)
    complaints()
    phone.transport.unplug()
    phone.transport.replug()
    assert phone.transport.reconnect()
    phone.open()


def test_another_type_of_container(connect: Connect, complaints: Complaints) -> None:
    """Small enough to be a command: skipped without an answer."""
    phone = connect()
    phone.transport.write(Container(ContainerType.RESPONSE, Response.OK, 5).encode(), 1)
    with pytest.raises(TransportTimeoutError):
        phone.read()
    assert phone.do(Operation.GetDeviceInfo).ok
    assert "container of type 3" in complaints()[0]


def test_missing_zero_length_packet(connect: Connect, root: Path, complaints: Complaints) -> None:
    """The phone waits for the end of the data, and takes the next command for it."""
    phone = connect()
    assert phone.announce("file", 500).ok
    phone.command(Operation.SendObject)
    phone.transport.write(encode_header(ContainerType.DATA, 0x100D, phone.transaction, 500) + bytes(500), 1)
    with pytest.raises(TransportTimeoutError):
        phone.read()
    sent = phone.transaction
    phone.command(Operation.GetDeviceInfo)
    answer = phone.read()
    assert answer[6:12] == b"\x02\x20" + sent.to_bytes(4, "little")
    assert not (root / "file").exists()
    assert "announced were 500" in complaints()[0]


def test_split_header_before_a_dataset(connect: Connect, complaints: Complaints) -> None:
    """AOSP reads once: the header alone is no dataset, and what follows is no command."""
    phone = connect()
    phone.command(Operation.SendObjectInfo, INTERNAL, ROOT_PARENT)
    dataset = ObjectInfo(filename="file").encode()
    phone.transport.write(encode_header(ContainerType.DATA, 0x100C, phone.transaction, len(dataset)), 1)
    phone.transport.write(dataset, 1)
    assert "header says otherwise" in complaints()[0]
    with pytest.raises(TransportTimeoutError):
        phone.read()


def test_a_command_instead_of_data(connect: Connect, complaints: Complaints) -> None:
    phone = connect()
    assert phone.announce("file", 5).ok
    phone.command(Operation.SendObject)
    phone.transport.write(Container(ContainerType.COMMAND, Operation.GetDeviceInfo, 99).encode(), 1)
    assert phone.answer().code == Response.GeneralError
    assert phone.handles() == []
    assert complaints()


def test_another_transaction_s_data(connect: Connect, complaints: Complaints) -> None:
    phone = connect()
    phone.command(Operation.SendObjectInfo, INTERNAL, ROOT_PARENT)
    phone.transaction += 1
    phone.data(Operation.SendObjectInfo, ObjectInfo(filename="file").encode())
    phone.transaction -= 1
    assert phone.answer().code == Response.InvalidParameter
    assert complaints()


@pytest.mark.parametrize("size", [0, 3, 500, 1012, 100_000])
def test_data_of_a_refused_command_is_dropped(connect: Connect, size: int) -> None:
    """The response comes before the data was sent; nothing comes after it."""
    phone = connect()
    phone.command(Operation.SendPartialObject, 1, 0, 0, size)
    assert phone.answer().code == Response.GeneralError
    phone.data(Operation.SendPartialObject, bytes(size), step=1024)
    with pytest.raises(TransportTimeoutError):
        phone.read()
    assert phone.do(Operation.GetDeviceInfo).ok


def test_refused_data_with_its_header_alone(connect: Connect) -> None:
    phone = connect()
    phone.command(Operation.SendPartialObject, 1, 0, 0, 100)
    assert phone.answer().code == Response.GeneralError
    phone.transport.write(encode_header(ContainerType.DATA, 0x95C2, phone.transaction, 100), 1)
    phone.transport.write(bytes(100), 1)
    assert phone.do(Operation.GetDeviceInfo).ok


def test_strict(connect: Connect, complaints: Complaints) -> None:
    """AOSP itself takes that data for commands: small containers are skipped, others end the loop."""
    phone = connect("strict")
    phone.command(Operation.SendPartialObject, 1, 0, 0, 4)
    assert phone.answer().code == Response.GeneralError
    phone.data(Operation.SendPartialObject, b"four")
    assert phone.do(Operation.GetDeviceInfo).ok
    assert "ignored" in complaints()[0]
    phone.command(Operation.SendPartialObject, 1, 0, 0, 5)
    assert phone.answer().code == Response.GeneralError
    phone.data(Operation.SendPartialObject, b"fives")
    assert_dead(phone)
    assert "server loop ends" in complaints()[0]


def test_cancel_a_download(connect: Connect, root: Path) -> None:
    """What wasn't read is dropped, no response follows."""
    (root / "file").write_bytes(bytes(100_000))
    phone = connect(buffer=1024)
    (handle,) = phone.handles()
    phone.command(Operation.GetObject, handle)
    phone.read()
    phone.transport.cancel(phone.transaction)
    with pytest.raises(TransportTimeoutError):
        phone.read()
    assert phone.do(Operation.GetDeviceInfo).ok


def test_cancel_nothing(connect: Connect, complaints: Complaints) -> None:
    """Never to be sent without a data phase: real phones lose commands."""
    phone = connect()
    phone.transport.cancel(1)
    assert "no data phase" in complaints()[0]


def test_a_dataset_without_end(connect: Connect, complaints: Complaints) -> None:
    """Larger than one read of AOSP's: refused, and not collected."""
    phone = connect()
    assert phone.do(Operation.SendObjectInfo, INTERNAL, ROOT_PARENT, send=bytes(1 << 20)).code == (
        Response.InvalidParameter
    )
    assert phone.do(Operation.GetDeviceInfo).ok
    assert complaints()
