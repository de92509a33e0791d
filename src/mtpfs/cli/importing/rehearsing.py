"""`--dry-run`: where each new file would go, without fetching any.

Where the place depends on the date taken, the head of the file is read on the phone. Numbers are told by names alone:
two files of one name may turn out to be the same when their contents are compared.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from mtpfs.cli.files import Run
from mtpfs.cli.importing.finding import Item
from mtpfs.cli.importing.plan import Planned, State
from mtpfs.cli.importing.shelf import Shelf
from mtpfs.cli.importing.telling import Status, Teller
from mtpfs.pictures.kinds import numbered
from mtpfs.pictures.taken import Origin, Taken, taken


def rehearse(run: Run, shelf: Shelf, groups: list[list[Planned]], teller: Teller) -> None:
    """Tell what would be imported. Raises ENODEV without the phone."""
    used: set[Path] = set()
    for group in groups:
        new = [planned.item for planned in group if planned.state is State.NEW]
        with run.going_on():
            dates = {item: _taken(run, shelf, item) for item in new}
            if dates:
                _rehearse(shelf, group, dates, used, teller)


def _taken(run: Run, shelf: Shelf, item: Item) -> Taken:
    if not shelf.pattern.needs_date:
        return Taken(datetime.now(), Origin.DATE)  # noqa: DTZ005 - nobody asks for it
    with run.phone.open(item.path) as file:
        return taken(file, item.name, item.modified)


def _rehearse(
    shelf: Shelf, group: list[Planned], dates: dict[Item, Taken], used: set[Path], teller: Teller
) -> None:
    here = [(each.item.name, each.target) for each in group if each.target is not None]
    directory, number = shelf.home(here) or (shelf.place_of(dates), 1)

    def targets() -> dict[Item, Path]:
        return {item: directory / numbered(item.name, number) for item in dates}

    while any(path in used or os.path.lexists(path) for path in targets().values()):
        number += 1
    for item, path in targets().items():
        used.add(path)
        teller.tell(item, Status.PLANNED, path, taken=dates[item] if shelf.pattern.needs_date else None)
