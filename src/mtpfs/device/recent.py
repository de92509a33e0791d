"""What was vacated, deleted and written a moment ago, because devices take some time to notice.

Android keeps a deleted or renamed object in its tables until its inotify thread has seen the kernel's event. Until
then the name counts as taken, and the object may still be listed. Usually that takes milliseconds, on a loaded phone
longer. So both are remembered for `MOMENT` seconds: refusals of a vacated name are retried, and deleted handles are
left out of listings. A moved object is listed in both folders meanwhile, by one handle. It is left out of the old
folder. A renamed object is listed under both names. It is asked for by its handle, which is answered with the new
name. A device that answers OK and deletes nothing (cameras do) shows the object after that time, and the log says so.

Invariant: nothing is hidden for longer than `MOMENT`; at most `MOST` of each kind are remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TypeVar

import trio

from mtpfs.device.names import fold
from mtpfs.session import Handle

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

MOMENT = 3.0  # seconds for which what was changed may still look as before
PAUSES = (0.02, 0.05, 0.2, 0.5, 1.0, 1.2)  # seconds between tries; in all about MOMENT
REMEMBERED = 60.0  # seconds after a deletion for which the log tells of an object that is still there
MOST = 4096  # names or handles


class Recent:
    """Names and handles that this host vacated, deleted and wrote. Used by one task at a time, never across a wait."""

    def __init__(self) -> None:
        self._names: dict[str, float] = {}
        self._handles: dict[Handle, tuple[float, str]] = {}
        self._moved: dict[Handle, tuple[float, Handle]] = {}
        self._renamed: dict[Handle, float] = {}
        self._written: dict[Handle, float] = {}
        self.deletions_undone = 0
        """Objects that were there again after the device had said that they were deleted."""

    def vacated(self, name: str) -> None:
        """Note that `name` has become free somewhere on the device."""
        _put(self._names, fold(name), trio.current_time())

    def was_vacated(self, name: str) -> bool:
        """Tell whether `name` became free a moment ago."""
        return trio.current_time() - self._names.get(fold(name), -MOMENT - 1) <= MOMENT

    def deleted(self, handle: Handle, name: str) -> None:
        """Note that the device says it has deleted `handle`, and so vacated `name`."""
        self.vacated(name)
        _put(self._handles, handle, (trio.current_time(), name))

    def created(self, handle: Handle) -> None:
        """Note that `handle` names an object now: some devices use a handle again at once."""
        self._handles.pop(handle, None)
        self._moved.pop(handle, None)
        self.written(handle)

    def written(self, handle: Handle) -> None:
        """Note that this host has written what `handle` holds: Android announces that as a change."""
        _put(self._written, handle, trio.current_time())

    def was_written(self, handle: Handle) -> bool:
        """Tell whether an announced change of `handle` is likely to be our own."""
        return trio.current_time() - self._written.get(handle, -MOMENT - 1) <= MOMENT

    def moved(self, handle: Handle, parent: Handle, name: str) -> None:
        """Note that the device has moved `handle` to the folder `parent`, and so vacated `name`."""
        self.vacated(name)
        _put(self._moved, handle, (trio.current_time(), parent))

    def is_elsewhere(self, handle: Handle, parent: Handle) -> bool:
        """Tell whether `handle` was moved to another folder than `parent` a moment ago."""
        noted = self._moved.get(handle)
        return (
            noted is not None and trio.current_time() - noted[0] < MOMENT and noted[1].number != parent.number
        )

    def renamed(self, handle: Handle, old: str) -> None:
        """Note that the device has given `handle` another name than `old`."""
        self.vacated(old)
        _put(self._renamed, handle, trio.current_time())

    def was_renamed(self, handle: Handle) -> bool:
        """Tell whether `handle` got another name a moment ago, so that lists may tell its old one."""
        return trio.current_time() - self._renamed.get(handle, -MOMENT - 1) <= MOMENT

    def may_be_meant(self, handle: Handle, name: str) -> bool:
        """Tell whether a notice that `handle` has gone may come of a change of ours, a moment ago.

        Some devices hear late, by the name alone, that a name was vacated. They take what has it by then for what has
        gone.
        """
        return self.was_vacated(name) or self.was_renamed(handle)

    def is_ghost(self, handle: Handle) -> bool:
        """Tell whether `handle` was deleted a moment ago, so that a listing may be behind."""
        noted = self._handles.get(handle)
        return noted is not None and trio.current_time() - noted[0] < MOMENT

    def without_ghosts(self, handles: Iterable[Handle]) -> list[Handle]:
        """Return those of a listing's `handles` that are no ghosts; log those that were ghosts for too long."""
        if not self._handles:
            return list(handles)
        shown = []
        for handle in handles:
            if self.is_ghost(handle):
                continue
            shown.append(handle)
            noted = self._handles.pop(handle, None)
            if noted is not None and trio.current_time() - noted[0] < REMEMBERED:
                self.deletions_undone += 1
                log.warning(
                    "object %s (%r) was deleted, says the device, but it still lists it", handle, noted[1]
                )
        return shown


def _put(memory: dict[K, V], key: K, value: V) -> None:
    memory.pop(key, None)  # the newest last
    memory[key] = value
    if len(memory) > MOST:
        del memory[next(iter(memory))]
