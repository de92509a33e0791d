"""Handles that are out of date: looked up once more, and once only."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from mtpfs.errors import MtpfsError, ResponseError, SessionLostError
from mtpfs.protocol.codes import Operation, Response
from mtpfs.session import Session
from mtpfs.vfs.stale import with_current_handles

STALE = ResponseError(Operation.GetObjectInfo, Response.InvalidObjectHandle)
REFUSED = ResponseError(Operation.GetObjectInfo, Response.AccessDenied)
LOST = SessionLostError("there is a new session")


async def tried(*outcomes: Exception | str, gone: bool = False) -> tuple[str | Exception, int]:
    """Do a step with these outcomes, one after the other; return what came of it, and how often it was done."""
    session = cast("Session", SimpleNamespace(gone=gone))
    left = list(outcomes)

    async def step() -> str:
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    try:
        result: str | Exception = await with_current_handles(
            session,
            step,
            is_stale=lambda error: error.code == Response.InvalidObjectHandle,
            subject=lambda: "/f",
        )
    except MtpfsError as error:
        result = error
    return result, len(outcomes) - len(left)


@pytest.mark.parametrize("first", [STALE, LOST])
async def test_once_more(first: Exception) -> None:
    """A refused handle and a new session are each worth a second try."""
    assert await tried(first, "done") == ("done", 2)


@pytest.mark.parametrize("first", [STALE, LOST])
@pytest.mark.parametrize("second", [STALE, LOST, REFUSED])
async def test_twice_is_enough(first: Exception, second: Exception) -> None:
    """What fails the second time has failed, with the second reason."""
    assert await tried(first, second, "never") == (second, 2)


async def test_other_answers() -> None:
    """An answer that has nothing to do with handles is the answer."""
    assert await tried(REFUSED, "never") == (REFUSED, 1)
    assert await tried("done", "never") == ("done", 1)


async def test_away() -> None:
    """Nothing is tried again on a device that is away: who asks next waits for it."""
    assert await tried(LOST, "never", gone=True) == (LOST, 1)
