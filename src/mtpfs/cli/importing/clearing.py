"""Deleting on the phone what is proven to be here.

A file is proven if the bytes that came have the same hash as what the disk gives back now, and it is the same file on
the phone still, by size and date. It is read from the disk and not from memory: the kernel is told to forget it
first. The phone is asked right before it is told to delete. A group goes as a whole, or not at all.

Files that an earlier import brought over count, too, if they are where it put them. What was moved or deleted here
meanwhile isn't proven, and stays on the phone. Nor is what a mount of the phone shows: that is the phone's own.

Invariant: nothing is deleted before the user has agreed, knowing how much it is.
"""

from __future__ import annotations

from pathlib import Path

from mtpfs.cli.bar import Bar
from mtpfs.cli.files import GONE, Run, agreed, short
from mtpfs.cli.importing.finding import Item
from mtpfs.cli.importing.memory import Memory
from mtpfs.cli.importing.plan import Planned
from mtpfs.cli.importing.shelf import hash_of
from mtpfs.cli.importing.telling import Status, Teller
from mtpfs.cli.phones import is_own
from mtpfs.errors import MtpfsError

_MOVED = "not where the import put them"
_OTHER = "the files here have other contents by now"
_UNKNOWN = "not imported"
_SAME = "what is here is on the phone, too"
_DATELESS = "the phone tells no date, so a change wouldn't be seen"
_TOGETHER = "something that belongs to them isn't proven to be here"
_CHANGED = "changed on the phone meanwhile"
_REFUSED = "not agreed"


class Clearer:
    """Deletes. The word `yes` is the command's."""

    def __init__(self, run: Run, memory: Memory, teller: Teller) -> None:
        self._run = run
        self._memory = memory
        self._teller = teller

    def clear(self, groups: list[list[Planned]]) -> None:
        """Delete what is proven, when the user has agreed."""
        proven = self._proven([[planned.item for planned in group] for group in groups])
        items = [item for group in proven for item in group]
        if not items:
            return
        size = short(sum(item.size for item in items))
        many = "1 file" if len(items) == 1 else f"{len(items)} files"
        if not self._run.chosen.yes and not agreed(
            f"delete {many} ({size}) on the phone, now that they are here?"
        ):
            for item in items:
                self._teller.tell(item, Status.KEPT, reason=_REFUSED)
            return
        left = len(items)
        bar = Bar(left, sum(item.size for item in items))
        self._run.before_line = bar.clear
        try:
            for group in proven:
                left -= len(group)
                if not self._delete(group, bar):
                    self._teller.break_off(left)
                    return
        finally:
            bar.clear()

    # --- proving ---------------------------------------------------------------------

    def _proven(self, groups: list[list[Item]]) -> list[list[Item]]:
        """Return the groups of which all is proven, and tell why the others stay."""
        hopeful: list[list[Item]] = []
        for group in groups:
            doubts = [self._doubt(item) for item in group]
            if not any(doubts):
                hopeful.append(group)
                continue
            for item, doubt in zip(group, doubts, strict=True):
                self._teller.tell(item, Status.KEPT, reason=doubt or _TOGETHER)
        bar = Bar(sum(map(len, hopeful)), sum(item.size for group in hopeful for item in group))
        self._run.before_line = bar.clear
        try:
            return [group for group in hopeful if self._is_proven(group, bar)]
        finally:
            bar.clear()

    def _doubt(self, item: Item) -> str:
        """Return why a file can't be proven; "": it is worth a try."""
        record = self._memory.get(item.key)
        if record is None or not record.digest:
            return _UNKNOWN
        if item.modified is None:
            return _DATELESS
        path = Path(record.file)
        if not path.is_file() or path.stat().st_size != item.size:
            return _MOVED
        return _SAME if is_own(self._run.phone, path) else ""

    def _is_proven(self, group: list[Item], bar: Bar) -> bool:
        """Read all of a group from the disk."""
        others: list[Item] = []
        failed: list[Item] = []
        for item in group:
            record = self._memory.get(item.key)
            assert record is not None
            bar.start(item.name, item.size)
            try:
                if hash_of(Path(record.file), from_disk=True) != record.digest:
                    others.append(item)
            except OSError as error:
                self._teller.fail(item, error)
                failed.append(item)
            bar.advance(item.size, item.size)
            bar.end(moved=True)
        if others or failed:
            for item in group:
                if item not in failed:
                    self._teller.tell(item, Status.KEPT, reason=_OTHER if item in others else _TOGETHER)
        return not others and not failed

    # --- deleting --------------------------------------------------------------------

    def _delete(self, group: list[Item], bar: Bar) -> bool:
        """Delete a group, if all of it is still what came; tell whether the phone is there."""
        present: list[Item] = []
        for item in group:
            try:
                now = self._run.phone.stat(item.path, fresh=True)
            except FileNotFoundError:
                continue  # somebody was faster
            except (OSError, MtpfsError) as error:
                self._teller.fail(item, error)
                return error.errno not in GONE
            if now.is_dir or (now.size, now.modified) != (item.size, item.modified):
                for each in group:
                    self._teller.tell(each, Status.KEPT, reason=_CHANGED if each is item else _TOGETHER)
                return True
            present.append(item)
        for item in present:
            bar.start(item.name, item.size)
            try:
                self._run.phone.remove(item.path)
            except (OSError, MtpfsError) as error:
                self._teller.fail(item, error)
                if error.errno in GONE:
                    return False
            else:
                self._teller.tell(item, Status.DELETED)
            finally:
                bar.end(moved=True)
        return True
