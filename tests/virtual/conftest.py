"""A virtual phone over a temporary directory, and an initiator with an open session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mtpfs.virtual.transport import VirtualTransport, open_virtual
from virtual.initiator import Initiator

Connect = Callable[..., Initiator]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory that the phone is made of."""
    path = tmp_path / "phone"
    path.mkdir()
    return path


@pytest.fixture
def connect(root: Path) -> Iterator[Connect]:
    """Plug a phone in: `connect("no-edit&locked")`."""
    opened: list[VirtualTransport] = []

    def plug(options: str = "", *, buffer: int = 1 << 16, **arguments: object) -> Initiator:
        transport = open_virtual(f"virtual:{root}?{options}", **arguments)  # type: ignore[arg-type]
        opened.append(transport)
        initiator = Initiator(transport, buffer=buffer)
        initiator.open()
        return initiator

    yield plug
    for transport in opened:
        transport.close()


Complaints = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[Complaints]:
    """What the phone said about the initiator's mistakes. Unasked for, it fails the test."""

    def take() -> list[str]:
        records = [*caplog.get_records("call")]
        caplog.clear()
        return [record.getMessage() for record in records if record.levelno >= logging.WARNING]

    yield take
    assert take() == []
