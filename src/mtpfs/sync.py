"""The library for programs without trio: the same names and parameters, and each call waits for its end.

`connect` runs trio in a thread of its own for as long as its block lasts. A call is handed to that thread as a task.
A caller that is interrupted (Ctrl-C) cancels the task, and waits until that has come to its end. So the phone is in
step afterwards. Any number of threads may use one phone. A `progress` is called in trio's thread.

Everything is thin on purpose: a test compares each name and each parameter with the asynchronous ones.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import trio

from mtpfs import library
from mtpfs.library import DeviceOnBus, Entry, Event, EventKind, Storage
from mtpfs.library.local import Data
from mtpfs.library.phone import Progress
from mtpfs.protocol.wire import Value
from mtpfs.settings import METADATA_TIMEOUT

__all__ = [
    "DeviceOnBus",
    "Entry",
    "Event",
    "EventKind",
    "Events",
    "File",
    "Phone",
    "Storage",
    "connect",
    "devices",
]

T = TypeVar("T")


class _Thread:
    """Trio in a thread, with an open phone."""

    def __init__(self, connect: Callable[[], contextlib.AbstractAsyncContextManager[library.Phone]]) -> None:
        self._connect = connect
        self._opened = concurrent.futures.Future[library.Phone]()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mtpfs", daemon=True)
        self._failure: BaseException | None = None

    def open(self) -> library.Phone:
        """Start, and return the phone. Raises what `connect` raises."""
        self._thread.start()
        try:
            return self._opened.result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything, in order. Raises what that raises."""
        self._started.wait()
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._scope.cancel)
        self._thread.join()
        if self._failure is not None and self._opened.done() and self._opened.exception() is None:
            raise self._failure

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._failure = error
        if not self._opened.done():
            self._opened.set_exception(self._failure or InterruptedError(errno.EINTR, "interrupted"))

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            self._started.set()
            async with self._connect() as phone, trio.open_nursery() as self._nursery:
                self._opened.set_result(phone)
                await trio.sleep_forever()

    def call(self, function: Callable[..., Awaitable[T]], *arguments: Any, **named: Any) -> T:
        """Return what an asynchronous function returns, or raise what it raises.

        If the caller is interrupted, the function is cancelled, and its end waited for.
        """
        answer, scope = concurrent.futures.Future[T](), trio.CancelScope()
        start = partial(self._start, partial(function, *arguments, **named), answer, scope)
        try:
            self._token.run_sync_soon(start)
        except trio.RunFinishedError:
            raise _closed() from None
        try:
            return answer.result()
        except BaseException:
            if not answer.done():
                self._token.run_sync_soon(scope.cancel)
                concurrent.futures.wait([answer])
            raise

    def _start(
        self,
        function: Callable[[], Awaitable[T]],
        answer: concurrent.futures.Future[T],
        scope: trio.CancelScope,
    ) -> None:
        try:
            self._nursery.start_soon(self._answer, function, answer, scope)
        except RuntimeError:  # it takes no more: the phone is being closed
            answer.set_exception(_closed())

    async def _answer(
        self,
        function: Callable[[], Awaitable[T]],
        answer: concurrent.futures.Future[T],
        scope: trio.CancelScope,
    ) -> None:
        try:
            with scope:
                try:
                    answer.set_result(await function())
                except trio.Cancelled:
                    raise
                except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                    answer.set_exception(error)
        finally:
            if not answer.done():
                interrupted = InterruptedError(errno.EINTR, "cancelled")
                answer.set_exception(interrupted if scope.cancel_called else _closed())


def _closed() -> OSError:
    return OSError(errno.EBADF, "the phone is closed")


def devices() -> list[DeviceOnBus]:
    """See `mtpfs.devices`."""
    return trio.run(library.devices)


@contextlib.contextmanager
def connect(
    source: str = "any", *, read_only: bool = False, timeout: float = METADATA_TIMEOUT
) -> Iterator[Phone]:
    """See `mtpfs.connect`. An exception in the block leaves it as it is."""
    thread = _Thread(lambda: library.connect(source, read_only=read_only, timeout=timeout))
    phone = thread.open()
    try:
        yield Phone(phone, thread)
    finally:
        thread.close()


class Phone:
    """See `mtpfs.Phone`."""

    def __init__(self, phone: library.Phone, thread: _Thread) -> None:
        self._phone = phone
        self._thread = thread

    @property
    def name(self) -> str:
        """What the phone is called."""
        return self._phone.name

    @property
    def serial(self) -> str:
        """Its serial number, as MTP tells it."""
        return self._phone.serial

    @property
    def unseen(self) -> int:
        """How many objects no listing shows, because the phone couldn't describe them."""
        return self._phone.unseen

    def storages(self) -> list[Storage]:
        """See `mtpfs.Phone.storages`. So for all that follow."""
        return self._thread.call(self._phone.storages)

    def stat(self, path: str, *, fresh: bool = False) -> Entry:
        return self._thread.call(self._phone.stat, path, fresh=fresh)

    def scandir(self, path: str = "/", *, dates: bool = True) -> list[Entry]:
        return self._thread.call(self._phone.scandir, path, dates=dates)

    def walk(
        self, path: str = "/", *, dates: bool = True, onerror: Callable[[OSError], None] | None = None
    ) -> Iterator[Entry]:
        found = self._phone.walk(path, dates=dates, onerror=onerror)
        try:
            while piece := self._thread.call(_some, found):
                yield from piece
        finally:
            with contextlib.suppress(OSError):  # the phone is closed, and the generator with it
                self._thread.call(_end, found)

    def thumbnail(self, path: str) -> bytes:
        return self._thread.call(self._phone.thumbnail, path)

    def properties(self, path: str) -> dict[str, Value]:
        return self._thread.call(self._phone.properties, path)

    def events(self) -> Events:
        return Events(self._thread.call(_now, self._phone.events), self._thread)

    def open(self, path: str, mode: str = "rb") -> File:
        return File(self._thread.call(self._phone.open, path, mode), self._thread)

    def download(
        self,
        path: str,
        local_path: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        replace: bool = False,
        resume: bool = False,
        received: Callable[[Data], object] | None = None,
    ) -> None:
        self._thread.call(
            self._phone.download,
            path,
            local_path,
            progress=progress,
            replace=replace,
            resume=resume,
            received=received,
        )

    def upload(
        self,
        local_path: str | os.PathLike[str],
        path: str,
        *,
        progress: Progress | None = None,
        replace: bool = False,
    ) -> None:
        self._thread.call(self._phone.upload, local_path, path, progress=progress, replace=replace)

    def mkdir(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
        self._thread.call(self._phone.mkdir, path, parents=parents, exist_ok=exist_ok)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        self._thread.call(self._phone.remove, path, recursive=recursive)

    def rename(self, source: str, target: str, *, replace: bool = False) -> None:
        self._thread.call(self._phone.rename, source, target, replace=replace)

    def move(self, source: str, target: str, *, replace: bool = False) -> None:
        self._thread.call(self._phone.move, source, target, replace=replace)

    def copy(self, source: str, target: str, *, replace: bool = False) -> None:
        self._thread.call(self._phone.copy, source, target, replace=replace)


class File:
    """See `mtpfs.File`. `with` closes it, and drops what isn't saved if the block fails."""

    def __init__(self, file: library.File, thread: _Thread) -> None:
        self._file = file
        self._thread = thread

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.call(self._file.__aexit__, kind, error, trace)

    @property
    def name(self) -> str:
        """The path that it was opened by."""
        return self._file.name

    @property
    def mode(self) -> str:
        """How it was opened."""
        return self._file.mode

    @property
    def closed(self) -> bool:
        """Whether it can't be used any more."""
        return self._file.closed

    @property
    def size(self) -> int:
        """Bytes, as far as is known here."""
        return self._file.size

    def read(self, size: int = -1) -> bytes:
        return self._thread.call(self._file.read, size)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        return self._thread.call(self._file.write, data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        return self._thread.call(self._file.truncate, size)

    def set_modified(self, modified: float) -> None:
        self._thread.call(self._file.set_modified, modified)

    def sync(self) -> None:
        self._thread.call(self._file.sync)

    def close(self) -> None:
        """See `mtpfs.File.aclose`."""
        self._thread.call(self._file.aclose)


class Events:
    """What `Phone.events` returns: an iterator that waits for the next event. `with`, or `close`, ends it."""

    def __init__(self, channel: trio.MemoryReceiveChannel[Event], thread: _Thread) -> None:
        self._channel = channel
        self._thread = thread

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            return self._thread.call(self._channel.receive)
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StopIteration from None
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            raise StopIteration from None  # the phone is closed

    def close(self) -> None:
        """Hear no more."""
        self._thread.call(_now, self._channel.close)


PIECE = 256  # entries of `walk` that come at once: each hop between the threads costs


async def _some(found: AsyncIterator[Entry]) -> list[Entry]:
    """Return the next entries of a walk; none: it is over."""
    piece: list[Entry] = []
    async for entry in found:
        piece.append(entry)
        if len(piece) == PIECE:
            break
    return piece


async def _end(found: Any) -> None:
    await found.aclose()


async def _now(function: Callable[[], T]) -> T:
    """Call a plain function on trio's thread."""
    return function()
