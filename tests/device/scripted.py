"""A session whose device says what a test wants: for what the virtual phone can't do.

Strategy: each operation has an answer, or a list of answers of which the last is repeated. No
thread runs, so a test on the autojump clock sees every pause exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import trio

from mtpfs.device import Device, Handle
from mtpfs.errors import MtpfsError, ResponseError
from mtpfs.protocol.codes import Format, Operation, Response
from mtpfs.protocol.datasets import DeviceInfo, ObjectInfo, StorageInfo
from mtpfs.protocol.wire import encode_integers
from mtpfs.session import DataSource, Engine, Rank, Result, Session

T = TypeVar("T")

STORAGE = 0x00010001
GENERATION = 7
ROOT = Handle(0, GENERATION)
Answer = bytes | tuple[int, ...] | Response | MtpfsError
"""Data, parameters of an OK, a refusal, or what the session raises."""
Answers = Answer | list[Answer] | Callable[..., Answer]
"""One or several answers, or a function of the parameters that gives one."""


def handle(number: int) -> Handle:
    return Handle(number, GENERATION)


def handles(*numbers: int) -> bytes:
    return encode_integers(numbers)


def object_info(
    name: str = "f",
    size: int = 0,
    date: str = "20240102T030405Z",
    *,
    folder: bool = False,
    protection: int = 0,
) -> bytes:
    return ObjectInfo(
        filename=name,
        object_compressed_size=size,
        modification_date=date,
        object_format=Format.Association if folder else Format.Undefined,
        protection_status=protection,
    ).encode()


def storage_info(free: int, capacity: int = 1 << 40) -> bytes:
    return StorageInfo(max_capacity=capacity, free_space_in_bytes=free).encode()


class ScriptedSession:
    """As much of a session, and of the engine in its jobs, as `device` uses."""

    def __init__(self, answers: dict[int, Answers], info: DeviceInfo) -> None:
        self.answers = answers
        self.info = info
        self.generation = GENERATION
        self.in_step = True
        self.calls: list[tuple[int, tuple[int, ...]]] = []

    def count(self, operation: int) -> int:
        return sum(called == operation for called, _ in self.calls)

    def misses_data(self) -> None:
        pass

    def split_headers(self) -> None:
        pass

    def _answer(self, operation: int, parameters: tuple[int, ...]) -> Result:
        self.calls.append((operation, parameters))
        answer = self.answers.get(operation, Response.OperationNotSupported)
        if callable(answer):
            answer = answer(*parameters)
        elif isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, MtpfsError):
            raise answer
        if isinstance(answer, Response):
            if answer != Response.OK:
                raise ResponseError(operation, answer)
            return Result((), memoryview(b""), GENERATION)
        if isinstance(answer, tuple):
            return Result(answer, memoryview(b""), GENERATION)
        return Result((), memoryview(answer), GENERATION)

    async def transact(
        self,
        operation: int,
        *parameters: int | Handle,
        data: bytes | DataSource | None = None,
        expected: int = 0,
        limit: int = 0,
        rank: Rank = Rank.METADATA,
    ) -> Result:
        await trio.lowlevel.checkpoint()
        numbers = tuple(value.number if isinstance(value, Handle) else value for value in parameters)
        return self._answer(operation, numbers)

    async def transact_each(self, operation: int, handles: Sequence[Handle]) -> list[Result | ResponseError]:
        found: list[Result | ResponseError] = []
        for one in handles:
            try:
                found.append(await self.transact(operation, one))
            except ResponseError as error:
                found.append(error)
        return found

    async def run(self, function: Callable[[Engine], T], *handles: Handle, rank: Rank = Rank.METADATA) -> T:
        await trio.lowlevel.checkpoint()
        return function(cast(Engine, _ScriptedEngine(self)))


class _ScriptedEngine:
    def __init__(self, session: ScriptedSession) -> None:
        self._session = session
        self.in_step = session.in_step

    def transact(
        self,
        operation: int,
        *parameters: int,
        data: bytes | DataSource | None = None,
        size: int | None = None,
        limit: int = 0,
        sink: Callable[[memoryview], None] | None = None,
    ) -> Result:
        result = self._session._answer(operation, parameters)
        if sink is not None and result.data:
            sink(result.data)
        return result


def scripted(
    answers: dict[int, Answers],
    *,
    maker: str = "Acme",
    formats: tuple[int, ...] = (),
    lists: Sequence[int] = (),
) -> tuple[Device, ScriptedSession]:
    """Return a device that answers so, and its session. It advertises what has an answer, and `lists`."""
    info = DeviceInfo(
        operations_supported=tuple({*answers, *lists}),
        playback_formats=formats,
        manufacturer=maker,
        model="One",
    )
    session = ScriptedSession(answers, info)
    return Device(cast(Session, session)), session


UPLOADED: dict[int, Answers] = {
    Operation.SendObjectInfo: (STORAGE, 0xFFFFFFFF, 9),
    Operation.SendObject: Response.OK,
    Operation.DeleteObject: Response.OK,
}
"""Answers of a device that takes every upload as object 9."""
