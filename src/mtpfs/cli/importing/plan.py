"""What is to be done with each file of the phone, before anything is done.

A file is left alone if an earlier import brought it over, or if it is here by name, size and date. To delete files on
the phone that isn't enough: what isn't known to have come whole is fetched and compared then. Nor is it enough where
two files have one name, size and date, or where what is here is known to be another file.

Invariant: it fetches nothing but the first bytes of a file whose name doesn't tell what it is, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from mtpfs.cli.files import GONE, Run
from mtpfs.cli.importing.finding import Item
from mtpfs.cli.importing.memory import Memory, Record
from mtpfs.cli.importing.shelf import Shelf
from mtpfs.cli.importing.telling import Teller
from mtpfs.cli.transfers import SAME_DATE
from mtpfs.errors import MtpfsError
from mtpfs.pictures.kinds import Kind
from mtpfs.pictures.taken import HEAD, is_picture


class State(StrEnum):
    """What a file is to this import."""

    NEW = "new"
    BEFORE = "imported before"
    THERE = "there already"
    EMPTY = "empty on the phone"
    FAILED = "failed"


@dataclass(slots=True)
class Planned:
    """A file, and what it is to this import."""

    item: Item
    state: State
    target: Path | None = None
    """Where it is, if it is here."""


class Planner:
    """Makes the plan. The words `again`, `delete` and `dry_run` are the command's."""

    def __init__(self, run: Run, memory: Memory, shelf: Shelf, teller: Teller) -> None:
        self._run = run
        self._teller = teller
        self._memory = memory
        self._shelf = shelf

    def plan(self, groups: list[list[Item]]) -> list[list[Planned]]:
        """Return what is to be done with each group that has pictures. Raises ENODEV without the phone."""
        plan = [found for group in groups if (found := self._all_known(group))]
        if not self._run.chosen.delete:
            unknown = [[each for each in group if _is_unknown(each)] for group in plan]
            twins = _twins([each.item for group in unknown for each in group])
            for group in unknown:
                self._recognise([each for each in group if each.item not in twins])
        return plan

    def _all_known(self, group: list[Item]) -> list[Planned]:
        found: list[Planned] = []
        for item in group:
            try:
                planned = self._known(item)
            except (OSError, MtpfsError) as error:
                planned = self._failed(item, error)
            found += [planned] if planned is not None else []
        return found

    def _failed(self, item: Item, error: OSError | MtpfsError) -> Planned:
        if error.errno in GONE:
            raise error
        self._teller.fail(item, error)
        return Planned(item, State.FAILED)

    def _known(self, item: Item) -> Planned | None:
        """Return what is known of a file without looking at it; None: it is no picture."""
        record = self._memory.get(item.key)
        if record is not None and not record.file:
            return None
        if record is not None:
            here = Path(record.file)
            wants_it = self._run.chosen.again and not here.exists()
            wants_proof = self._run.chosen.delete and not record.digest and here.exists()
            return Planned(item, State.NEW if wants_it or wants_proof else State.BEFORE, here)
        if not item.size:
            return Planned(item, State.EMPTY)
        if item.kind is Kind.DOUBTFUL and not self._is_picture(item):
            self._remember(item, Record(""))
            return None
        return Planned(item, State.NEW)

    def _is_picture(self, item: Item) -> bool:
        with self._run.phone.open(item.path) as file:
            return is_picture(file.read(HEAD))

    def _recognise(self, unknown: list[Planned]) -> None:
        """Recognise what is here."""

        def is_free(item: Item, path: Path) -> bool:
            return self._memory.owner(str(path)) in {None, item.key}

        try:
            here = self._shelf.find([planned.item for planned in unknown], is_free)
        except OSError as error:
            for planned in unknown:
                planned.state = self._failed(planned.item, error).state
            return
        for planned in unknown:
            if planned.item in here:
                planned.state, planned.target = State.THERE, here[planned.item]
                self._remember(planned.item, Record(str(planned.target)))

    def _remember(self, item: Item, record: Record) -> None:
        if not self._run.chosen.dry_run:
            self._memory.add(item.key, record)


def _twins(items: list[Item]) -> set[Item]:
    """Return those that have name, size and date in common with others: only their contents can tell which one is here."""
    found: set[Item] = set()
    alike: dict[tuple[str, int], list[tuple[float, Item]]] = {}
    for item in items:
        if item.modified is not None:
            alike.setdefault((item.name, item.size), []).append((item.modified, item))
    for each in alike.values():
        each.sort(key=lambda pair: pair[0])
        for (earlier, one), (later, other) in pairwise(each):
            if later - earlier <= 2 * SAME_DATE:
                found |= {one, other}
    return found


def _is_unknown(planned: Planned) -> bool:
    return planned.state is State.NEW and planned.target is None
