"""Faults in words."""

from __future__ import annotations

import pytest

from equipment.functionfs import descriptors, strings
from mtpfs.errors import SetupError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.virtual.faults import FOREVER, Fault, Kind, parse_fault


def test_words() -> None:
    """Kind, operation and numbers, in any order after the kind."""
    assert parse_fault("stall") == Fault(Kind.STALL)
    assert parse_fault("stall-mid-data GetPartialObject64 amount=0x100 times=0 skip=2") == Fault(
        Kind.STALL_MID_DATA, Operation.GetPartialObject64, skip=2, times=FOREVER, amount=256
    )
    assert parse_fault("fail code=StoreFull SendObject") == Fault(
        Kind.FAIL, Operation.SendObject, code=Response.StoreFull
    )


@pytest.mark.parametrize(
    "text", ["nonsense", "stall Nonsense", "stall nonsense=1", "stall times=x", "fail code=No"]
)
def test_mistakes_are_named(text: str) -> None:
    """What isn't known is named."""
    with pytest.raises(SetupError, match=r"(?i)n|x"):
        parse_fault(text)


def test_descriptors_are_well_formed() -> None:
    """What the kernel gets has the lengths that it says, for two speeds with an interface and three endpoints."""
    data = descriptors()
    assert int.from_bytes(data[4:8], "little") == len(data)
    at, kinds = 20, []
    while at < len(data):
        kinds.append(data[at + 1])
        at += data[at]
    assert at == len(data)
    assert kinds == [4, 5, 5, 5] * 2
    assert int.from_bytes(strings()[4:8], "little") == len(strings())
