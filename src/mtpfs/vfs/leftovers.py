"""Objects in the middle of a change: their names, and what becomes of them after a crash.

Strategy: MTP can't replace a file in one step, so for a moment an object has a
temporary name. That name says what the object is, which name it is about and
how large the winner is: `.mtpfs-new-4f2a91-1c8-NAME`. One mount owns a device,
so such an object in a listing that this mount isn't just using was left by a
mount that was killed, or by a cable that was pulled; it is settled before the
listing is shown. Its contents are only ever deleted where others of the right
size have their name, or where somebody has deleted them himself; when in doubt
it stays, and is shown as what it is.

Invariant: settling never makes a listing fail, and on a read-only mount or
storage it does nothing.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import secrets
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum

from mtpfs.device import WITHDRAWN, Device, Entry, Storage, listing, writing
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.protocol.wire import MAX_STRING_UNITS, utf16_units
from mtpfs.vfs import names

log = logging.getLogger(__name__)

PREFIX = ".mtpfs-"
TRIES = 3  # at one that the device refuses to settle
LONGEST = MAX_STRING_UNITS
"""UTF-16 units, and also bytes: Android's filesystems end there."""


class Kind(StrEnum):
    """What an object with a temporary name is. In the order in which they are settled."""

    MOVE = "move"
    """On its way to another directory, under another name."""
    NEW = "new"
    """Contents that are to replace a file; the number is their size."""
    OLD = "old"
    """Put aside for another object that gets its name; the number is the other's size."""
    GONE = "gone"
    """Deleted while it was open."""


_PATTERN = re.compile(
    rf"{re.escape(PREFIX)}(move|new|old|gone)-[0-9a-f]{{6}}-([0-9a-f]+)(?:-(.+)|=([0-9a-f]{{16}}))", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A temporary name, read. `name` is empty where it was too long to be kept; then `digest` stands for it."""

    kind: Kind
    number: int
    name: str
    digest: str = ""

    def means(self, name: str) -> bool:
        """Tell whether this is about `name`."""
        return _digest(name) == self.digest if self.digest else name == self.name


def temporary_name(kind: Kind, name: str, number: int = 0) -> str:
    """Return a fresh name for an object in the middle of a change of `name`."""
    start = f"{PREFIX}{kind}-{secrets.token_hex(3)}-{number:x}"
    full = f"{start}-{name}"
    size = max(utf16_units(full), len(full.encode("utf-8", "surrogatepass")))
    return full if size <= LONGEST else f"{start}={_digest(name)}"


def moving_name(old: str, new: str, destination: str) -> str:
    """Return a fresh name for an object that is moved into the directory `destination` and renamed."""
    return temporary_name(Kind.MOVE, f"{len(old)}-{old}{new}", _place(destination))


def parse(name: str) -> Leftover | None:
    """Read a temporary name; None: it is an ordinary one."""
    match = _PATTERN.fullmatch(name)
    if match is None:
        return None
    kind, number, subject, digest = match.groups()
    return Leftover(Kind(kind), int(number, 16), subject or "", digest or "")


def check_not_reserved(name: str) -> None:
    """Refuse a name that would be taken for a leftover."""
    if parse(name) is not None:
        raise FsError(errno.EINVAL, f"{name!r} is a name for mtpfs's own use")


class Leftovers:
    """Settles what is found in listings."""

    def __init__(self, device: Device, *, read_only: bool) -> None:
        self._device = device
        self._read_only = read_only
        self._hopeless: dict[str, bool] = {}
        """Names of those that the device doesn't let go, and whether they are shown."""
        self._refusals: Counter[str] = Counter()
        """How often the device has refused to settle them, by name."""
        self._unsettled: set[str] = set()
        """Names of those that are to be tried again."""
        self._superseded: set[str] = set()
        """Names of those that are to be deleted, whatever becomes of what has superseded them."""
        self._generation = device.session.generation
        self.unshown: set[int] = set()
        """Handles of objects that can't be deleted, and aren't shown: they don't keep a directory from being empty."""

    async def settle(
        self, storage: Storage, directory: str, entries: list[Entry]
    ) -> tuple[list[Entry], bool]:
        """Settle the leftovers among a directory's `entries`; return what is to be shown, and whether that will do.

        It won't where something is to be tried again. The caller has left out those that this mount is using.
        """
        found = [
            (left, entry)
            for entry in entries
            if entry.name.startswith(PREFIX) and (left := parse(entry.name)) is not None
        ]
        if not found or self._read_only or not (storage.writable and storage.deletable):
            return entries, True
        if self._generation != self._device.session.generation:
            # A new session has other handles, and an Android that was plugged in anew other opinions.
            self._generation = self._device.session.generation
            self._hopeless.clear()
            self._refusals.clear()
            self._unsettled.clear()
            self.unshown.clear()
        shown = {entry.handle: entry for entry in entries}
        order = list(Kind)
        for left, entry in sorted(found, key=lambda item: order.index(item[0].kind)):
            self._unsettled.discard(entry.name)
            if entry.name in self._hopeless:
                settled = entry if self._hopeless[entry.name] else None
            else:
                settled = await self._settle(storage, directory, left, entry, [*shown.values()])
            if settled is None:
                del shown[entry.handle]
                self.unshown.add(entry.handle)
            else:
                shown[entry.handle] = settled
        return [*shown.values()], self._unsettled.isdisjoint(entry.name for _, entry in found)

    async def _settle(
        self, storage: Storage, directory: str, left: Leftover, entry: Entry, others: list[Entry]
    ) -> Entry | None:
        """Return the entry as it is to be shown, None if not at all."""
        winner = next((other for other in others if left.means(other.name)), None)
        if left.kind is Kind.MOVE:
            return await self._rename(directory, entry, _end_of_move(left, directory), others)
        superseded = entry.name in self._superseded
        if (
            not superseded
            and winner is None
            and (left.kind is Kind.OLD or (left.kind is Kind.NEW and entry.size == left.number))
        ):
            return await self._rename(directory, entry, left.name, others)
        # Of new contents nobody was told that they are saved, as long as the old ones are there.
        superseded |= winner is not None and (
            left.kind is Kind.NEW
            or (winner.size, winner.is_folder, left.kind) == (left.number, entry.is_folder, Kind.OLD)
        )
        try:
            is_to_go = (superseded or left.kind is Kind.GONE) and await self._holds_nothing(storage, entry)
        except MtpfsError as error:
            self._failed(directory, entry, error, shown=True)
            return entry
        if is_to_go:
            self._superseded.add(entry.name)
            await self._delete(directory, entry)
            return None
        log.warning("%s/%s: left by a crash; it is kept, for what it is isn't certain", directory, entry.name)
        self._hopeless[entry.name] = True
        return entry

    async def _rename(self, directory: str, entry: Entry, name: str, others: list[Entry]) -> Entry:
        sort = names.fold if self._device.quirks.case_insensitive else str
        if name and sort(name) not in {sort(other.name) for other in others}:
            try:
                await writing.rename(self._device, entry.handle, name)
            except MtpfsError as error:
                self._failed(directory, entry, error, shown=True)
                return entry
            log.warning("%s/%s: restored after a crash, from %s", directory, name, entry.name)
            return replace(entry, name=name)
        log.warning("%s/%s: left by a crash; its name is taken or lost", directory, entry.name)
        self._hopeless[entry.name] = True
        return entry

    async def _delete(self, directory: str, entry: Entry) -> None:
        try:
            await writing.delete(self._device, entry.handle)
        except MtpfsError as error:  # Android doesn't delete names that it has only reserved
            self._failed(directory, entry, error, shown=False)
        else:
            log.warning("%s/%s: left by a crash, deleted", directory, entry.name)

    def _failed(self, directory: str, entry: Entry, error: MtpfsError, *, shown: bool) -> None:
        """Have the next listing try again, unless the device has refused often enough: a silent or locked one hasn't."""
        if isinstance(error, FsError) or (isinstance(error, ResponseError) and error.code not in WITHDRAWN):
            self._refusals[entry.name] += 1
        if self._refusals[entry.name] < TRIES:
            self._unsettled.add(entry.name)
            log.info("%s/%s: left by a crash, can't be settled now: %s", directory, entry.name, error)
        else:
            log.warning("%s/%s: left by a crash, can't be settled: %s", directory, entry.name, error)
            self._hopeless[entry.name] = shown

    async def _holds_nothing(self, storage: Storage, entry: Entry) -> bool:
        """Tell whether nothing but the object itself goes when it is deleted: MTP deletes recursively."""
        return not (entry.is_folder and await listing.child_handles(self._device, storage.id, entry.handle))


def _end_of_move(left: Leftover, directory: str) -> str:
    """Return the name that a moving object has at the end of its way, or at its start if it is still there."""
    length, _, both = left.name.partition("-")
    if not length.isdecimal():
        return ""  # both together were too long
    middle = int(length)
    return both[middle:] if _place(directory) == left.number else both[:middle]


def _place(directory: str) -> int:
    return zlib.crc32(directory.encode("utf-8", "surrogatepass"))


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
