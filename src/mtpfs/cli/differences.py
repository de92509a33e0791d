"""What a sync has to do: two trees are compared, and nothing is changed.

Both sides are listed wholly before anything is done. So a plan can be shown, a bar knows how much it is, and nothing is
removed while it isn't certain what the source has.

A file counts as the same by size and date. Where the source knows no date (some cameras and players tell none) the size
has to do. Where the target knows none the file is moved.

Invariant: nothing is removed that is excluded; nor because of a source that is empty, or that couldn't be listed to
its last directory; nor a storage; nor what is mounted in the target under a name that the source hasn't. A name that
the source has, whatever it is there, removes nothing of that name but what is in its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mtpfs.cli.files import Run, quoted
from mtpfs.cli.patterns import Excludes
from mtpfs.cli.sides import Item, Kind, Listing, Side, becomes, have_same_contents, joined
from mtpfs.cli.transfers import is_same_date

_NOTHING = Listing([], [])


@dataclass(frozen=True, slots=True)
class Copy:
    """A file to be moved."""

    inside: str
    size: int
    replaces: bool
    """There is a file of this name already."""


@dataclass(slots=True)
class Plan:
    """What is to be done, in this order. Paths are relative to both tops."""

    removals: list[tuple[str, Item]] = field(default_factory=list)
    """What is in a directory comes before it."""
    directories: list[str] = field(default_factory=list)
    """Those to be made, each before those in it."""
    copies: list[Copy] = field(default_factory=list)
    unchanged: int = 0
    """Files that are the same on both sides."""


class Planner:
    """Compares two sides. `delete`: what only the target has goes; `checksum`: by contents, and not by date."""

    def __init__(
        self, run: Run, source: Side, target: Side, excludes: Excludes, *, delete: bool, checksum: bool
    ) -> None:
        self._run = run
        self._source = source
        self._target = target
        self._excludes = excludes
        self._delete = delete
        self._checksum = checksum
        self._plan = Plan()
        self._is_complete = True
        """All of the source has been listed."""
        self._superfluous: list[tuple[str, Item]] = []
        self._pending: list[tuple[str, bool]] = []

    def plan(self, *, is_new: bool) -> Plan:
        """Compare; `is_new`: the target isn't there yet.

        Raises `OSError` if the source's top can't be listed, or the phone is gone.
        """
        if is_new:
            self._plan.directories.append("")
        self._pending = [("", is_new)]
        while self._pending:
            inside, is_new = self._pending.pop()
            self._directory(inside, is_new=is_new)
        if self._superfluous and (unseen := self._source.unseen()):
            self._run.fail(f"the phone can't describe {unseen} of the files that it lists")
            self._is_complete = False
        if self._is_complete:
            self._plan.removals += self._superfluous
        elif self._superfluous:
            self._run.fail("nothing is deleted, because the source couldn't be listed wholly")
        return self._plan

    def _directory(self, inside: str, *, is_new: bool) -> None:
        try:
            source = self._source.listed(inside)
        except OSError as error:
            if not inside:
                raise
            self._is_complete = False
            self._run.fail_or_end(error)
            return
        with self._run.going_on():
            target = _NOTHING if is_new else self._target.listed(inside)
            there = {item.name: item for item in target.items}
            deeper: list[tuple[str, bool]] = []
            for item in source.items:
                path = joined(inside, item.name)
                if self._excludes(path, is_dir=item.is_dir):
                    continue
                with self._run.going_on():
                    deeper += self._item(path, item, there.get(item.name))
            self._pending += reversed(deeper)
            if self._delete:
                self._only_there(inside, source, target)

    def _item(self, path: str, item: Item, there: Item | None) -> Iterator[tuple[str, bool]]:
        """Plan for what the source has; yield a directory that is to be looked into."""
        if item.kind is Kind.OTHER:
            self._run.fail(f"{quoted(self._source.path(path))}: {item.why}")
        elif there is not None and there.kind is not item.kind:
            if self._is_out_of_the_way(path, there):
                yield from self._item(path, item, None)
        elif item.is_dir:
            if there is None:
                self._plan.directories.append(path)
            yield path, there is None
        elif there is None or not self._is_same(path, item, there):
            self._plan.copies.append(Copy(path, item.size, replaces=there is not None))
        else:
            self._plan.unchanged += 1

    def _is_same(self, path: str, item: Item, there: Item) -> bool:
        if item.size != there.size:
            return False
        if self._checksum:
            return have_same_contents(self._source, self._target, path)
        date = self._source.date(path, item)
        if date is None or date < 1:  # 1970 is what is told where none is known
            return True
        shown = self._target.date(path, there)
        return shown is not None and is_same_date(date, shown)

    def _is_out_of_the_way(self, path: str, there: Item) -> bool:
        """Plan that what has the name goes; tell whether it does."""
        shown = quoted(self._target.path(path))
        if there.kind is Kind.OTHER:
            self._run.fail(f"{shown} is in the way: {there.why}")
        elif not self._delete:
            what = "a directory" if there.is_dir else "a file"
            self._run.fail(f"{shown} is in the way: it is {what}; --delete removes it")
        elif self._excludes(path, is_dir=there.is_dir):
            self._run.fail(f"{shown} is in the way, and is excluded")
        else:
            found, is_all = self._with_all_in_it(path, there)
            if is_all:
                self._plan.removals += found
                return True
            self._run.fail(f"{shown} is in the way, and something in it is excluded")
        return False

    # --- what only the target has ----------------------------------------------------

    def _only_there(self, inside: str, source: Listing, target: Listing) -> None:
        names = {item.name for item in source.items}
        superfluous = [item for item in target.items if item.name not in names]
        superfluous += [item for item in target.unfinished if becomes(item.name) not in names]
        superfluous = [
            item for item in superfluous if not self._excludes(joined(inside, item.name), is_dir=item.is_dir)
        ]
        if not superfluous:
            return
        if not inside and not source.items and not source.unfinished:
            self._run.fail(
                f"{quoted(self._source.path(''))} is empty, so nothing is deleted: "
                "is the phone locked, or a disk not mounted?"
            )
        elif inside or "/" not in {self._source.path(""), self._target.path("")}:
            for item in superfluous:
                self._superfluous += self._with_all_in_it(joined(inside, item.name), item)[0]

    def _with_all_in_it(self, path: str, item: Item) -> tuple[list[tuple[str, Item]], bool]:
        """Return what there is to be removed, what is in a directory before it; and whether nothing of it stays."""
        pending, found, kept = [(path, item)], list[tuple[str, Item]](), set[str]()
        while pending:
            inside, each = pending.pop()
            if self._excludes(inside, is_dir=each.is_dir):
                kept.update(_above(inside))
                continue
            found.append((inside, each))
            if not each.is_dir:
                continue
            try:
                self._target.check_removable(inside)
                listing = self._target.listed(inside)
            except OSError as error:
                kept.update({inside, *_above(inside)})
                self._run.fail_or_end(error)
            else:
                pending += [
                    (joined(inside, child.name), child) for child in listing.items + listing.unfinished
                ]
        return [(inside, each) for inside, each in reversed(found) if inside not in kept], path not in kept


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
