"""The plan of a sync, for random trees: carried out on a model it gives what was asked for, and what is kept is kept."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtpfs.cli.differences import Plan, Planner
from mtpfs.cli.files import Run
from mtpfs.cli.patterns import Excludes
from mtpfs.cli.phones import Phone
from mtpfs.cli.sides import Contents, Item, Kind, Listing, joined

Tree = dict[str, tuple[bytes, float | None] | None]
"""Contents and date by path; None for directories."""


@dataclass
class Model:
    """A side in memory. `broken`: directories that can't be listed."""

    tree: Tree
    top: str = "top"
    broken: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    def path(self, inside: str) -> str:
        return joined(self.top, inside) if inside else self.top

    def listed(self, inside: str) -> Listing:
        if inside in self.broken:
            raise OSError(errno.EIO, "broken", self.path(inside))
        self.asked.append(inside)
        names = {path.rpartition("/")[2]: path for path in self.tree if path.rpartition("/")[0] == inside}
        return Listing([self._item(name, path) for name, path in sorted(names.items())], [])

    def _item(self, name: str, path: str) -> Item:
        found = self.tree[path]
        if found is None:
            return Item(name, Kind.DIRECTORY)
        data, date = found
        return Item(name, Kind.FILE, len(data), date)

    def date(self, inside: str, item: Item) -> float | None:
        del inside
        return item.date

    @contextlib.contextmanager
    def opened(self, inside: str) -> Iterator[Contents]:
        found = self.tree[inside]
        assert found is not None
        yield io.BytesIO(found[0])

    def check_removable(self, inside: str) -> None:
        pass

    def remove(self, inside: str, item: Item) -> None:
        assert self.tree[inside] is None if item.is_dir else self.tree[inside] is not None
        assert not any(path.startswith(f"{inside}/") for path in self.tree), "it isn't empty"
        del self.tree[inside]

    def mkdir(self, inside: str) -> None:
        assert inside == "" or (inside not in self.tree and self._has_directory_of(inside))
        self.tree[inside] = None

    def unseen(self) -> int:
        return 0

    def check_present(self) -> None:
        pass

    def _has_directory_of(self, inside: str) -> bool:
        above = inside.rpartition("/")[0]
        return above == "" or self.tree.get(above, b"") is None

    def receive(self, source: Model, inside: str, *, replaces: bool) -> None:
        assert self._has_directory_of(inside)
        assert (inside in self.tree) == replaces
        assert self.tree.get(inside, b"") is not None
        self.tree[inside] = source.tree[inside]


def planned(
    source: Model, target: Model, patterns: list[str], *, delete: bool, checksum: bool = False
) -> tuple[Plan, list[str]]:
    run = Run("sync", cast("Phone", None), argparse.Namespace(json=False))
    with contextlib.redirect_stderr(io.StringIO()):
        planner = Planner(run, source, target, Excludes(patterns), delete=delete, checksum=checksum)
        return planner.plan(is_new=False), run.failures


def carried_out(plan: Plan, source: Model, target: Model) -> None:
    for inside, item in plan.removals:
        target.remove(inside, item)
    for inside in plan.directories:
        target.mkdir(inside)
    for each in plan.copies:
        target.receive(source, each.inside, replaces=each.replaces)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    found: Tree = {}
    for _ in range(draw(st.integers(0, 10))):
        parts = draw(st.lists(st.sampled_from("abx"), min_size=1, max_size=3))
        path = "/".join(parts)
        above = ["/".join(parts[:count]) for count in range(1, len(parts))]
        if path in found or any(found.get(each, b"") is not None and each in found for each in above):
            continue
        found |= dict.fromkeys(above)
        if draw(st.booleans()):
            found[path] = (
                draw(st.sampled_from([b"", b"1", b"2", b"22"])),
                draw(st.sampled_from([10.0, 20.0, 30.5])),
            )
        else:
            found[path] = None
    return found


PATTERNS = st.lists(st.sampled_from(["x", "a/b", "/b", "x/", "/a/**"]), max_size=2)


def excluded(tree: Tree, patterns: list[str]) -> set[str]:
    """Return the paths of a tree that are left out, by themselves or by a directory above."""
    excludes, found = Excludes(patterns), set[str]()
    for path in sorted(tree):
        if path.rpartition("/")[0] in found or excludes(path, is_dir=tree[path] is None):
            found.add(path)
    return found


@settings(max_examples=600, deadline=None)
@given(ours=trees(), theirs=trees(), patterns=PATTERNS, delete=st.booleans(), checksum=st.booleans())
def test_any_trees(ours: Tree, theirs: Tree, patterns: list[str], delete: bool, checksum: bool) -> None:
    """What is excluded isn't touched, the rest becomes the source's tree, and a second plan is empty."""
    source, target = Model(dict(ours)), Model(dict(theirs))
    plan, failures = planned(source, target, patterns, delete=delete, checksum=checksum)
    carried_out(plan, source, target)
    assert source.tree == ours

    hidden, kept = excluded(ours, patterns), excluded(theirs, patterns)
    assert {path: target.tree.get(path, ()) for path in kept} == {path: theirs[path] for path in kept}
    conflicts = {
        path
        for path in ours
        if path not in hidden and path in theirs and (ours[path] is None) != (theirs[path] is None)
    }
    if failures:
        assert conflicts or (delete and theirs and not ours)
    in_conflict = {path for path in ours for each in conflicts if path == each or path.startswith(f"{each}/")}
    for path, found in ours.items():
        if path in hidden or (path in in_conflict and failures):
            continue
        there = target.tree[path]
        if found is None or there is None:
            assert found is there is None, path
        elif checksum:
            assert found[0] == there[0]
        else:
            assert (len(found[0]), found[1]) == (len(there[0]), there[1])
    superfluous = set(target.tree) - set(ours)
    if delete and ours and not failures:
        assert all(
            path in kept or any(each.startswith(f"{path}/") for each in kept) or path in hidden
            for path in superfluous
        )
    elif not delete:
        assert set(theirs) <= set(target.tree)
        assert not plan.removals

    again, _ = planned(source, target, patterns, delete=delete, checksum=checksum)
    assert (again.removals, again.directories, again.copies) == ([], [], [])


@settings(max_examples=300, deadline=None)
@given(ours=trees(), theirs=trees(), data=st.data())
def test_a_source_that_cant_be_listed(ours: Tree, theirs: Tree, data: st.DataObject) -> None:
    """If only one directory of the source can't be listed, nothing is removed but what is in the way; nor if a target's can't."""
    directories = sorted(path for path, found in ours.items() if found is None)
    broken = frozenset(
        data.draw(st.lists(st.sampled_from(directories), min_size=1) if directories else st.just([]))
    )
    source, target = Model(dict(ours), broken=broken), Model(dict(theirs))
    plan, failures = planned(source, target, [], delete=True)
    if broken:
        assert failures
        in_the_way = {
            path for path in ours if path in theirs and (ours[path] is None) != (theirs[path] is None)
        }
        for path, _ in plan.removals:
            assert any(path == each or path.startswith(f"{each}/") for each in in_the_way), path
    carried_out(plan, source, target)


def test_the_phone_goes() -> None:
    """Then there is no plan at all."""

    class Gone(Model):
        def listed(self, inside: str) -> Listing:
            if inside == "a":
                raise OSError(errno.ENODEV, "gone", inside)
            return super().listed(inside)

    tree: Tree = {"a": None, "a/f": (b"1", 10.0), "b": None}
    with pytest.raises(OSError, match="gone"):
        planned(Gone(dict(tree)), Model({}), [], delete=True)
    with pytest.raises(OSError, match="gone"):
        planned(Model(dict(tree)), Gone(dict(tree)), [], delete=True)


@pytest.mark.parametrize(
    ("source", "target", "is_same"),
    [
        (10.9, 10.0, True),
        (11.0, 10.0, True),  # FAT
        (9.0, 10.0, True),
        (10.0, 11.0, False),
        (12.0, 10.0, False),
        (8.0, 10.0, False),
        (None, 10.0, True),
        (0.0, None, True),
        (10.0, None, False),
    ],
)
def test_dates(source: float | None, target: float | None, is_same: bool) -> None:
    """Seconds count, unless the target has even ones only. Without a date of the source the size has to do."""
    plan, _ = planned(Model({"f": (b"1", source)}), Model({"f": (b"2", target)}), [], delete=False)
    assert (plan.unchanged, len(plan.copies)) == (int(is_same), int(not is_same))


def test_depth() -> None:
    """Trees may be deeper than Python's stack."""
    path, tree = "d", Tree()
    for _ in range(1500):
        tree[path] = None
        path += "/d"
    source, target = Model(tree), Model({"d": (b"", 1.0)})
    plan, failures = planned(source, target, [], delete=True)
    assert (len(plan.directories), len(plan.removals), failures) == (1500, 1, [])
    other: Tree = {path.replace("d", "e"): None for path in tree}
    plan, failures = planned(replace(source), Model(other), [], delete=True)
    assert [inside for inside, _ in plan.removals] == sorted(other, key=len, reverse=True)
