"""Who may change which names: what conflicts, who waits, in which order, and what a listing hears of it."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mtpfs.vfs import Node
from mtpfs.vfs.claims import Claims, Name


class Tree:
    """Directories: `root`, `d` and `other` in it, `e` in `d`; and the claims on names in them."""

    def __init__(self) -> None:
        self.claims = Claims()
        self.root = Node(1, None, b"", is_folder=True)
        self.d = Node(2, self.root, b"d", is_folder=True)
        self.other = Node(3, self.root, b"other", is_folder=True)
        self.e = Node(4, self.d, b"e", is_folder=True)
        self.granted: list[str] = []

    async def hold(self, label: str, *names: Name, subtrees: tuple[Node, ...] = ()) -> None:
        """Claim, note that, and keep it until cancelled."""
        async with self.claims.claim(*names, subtrees=subtrees):
            self.granted.append(label)
            await trio.sleep_forever()

    def is_free(self, *names: Name) -> bool:
        with self.claims.claim_now(*names) as claim:
            return claim is not None


@pytest.fixture
def tree() -> Tree:
    return Tree()


def start(
    nursery: trio.Nursery, tree: Tree, label: str, *names: Name, subtrees: tuple[Node, ...] = ()
) -> trio.CancelScope:
    """Start a task that claims; return what ends it."""
    scope = trio.CancelScope()

    async def run() -> None:
        with scope:
            await tree.hold(label, *names, subtrees=subtrees)

    nursery.start_soon(run)
    return scope


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("root/a", "root/a", True),
        ("root/a", "root/A", True),  # on a device that folds they are one
        ("root/a", "root/b", False),
        ("root/a", "d/a", False),
        ("root/a d/b", "other/c d/b", True),
        ("d", "d/a", True),
        ("d", "e/a", True),
        ("d", "e", True),
        ("d", "d", True),
        ("d", "root/d", False),  # whoever removes it claims its name besides
        ("d", "other/a", False),
        ("d", "other", False),
        ("e", "d/a", False),
        ("root", "e/a", True),
    ],
)
async def test_conflicts(tree: Tree, one: str, other: str, conflict: bool) -> None:
    """One name is one task's; a subtree is with everything that is in it, at any depth. It is the same both ways."""
    for first, second in ((one, other), (other, one)):
        tree.granted.clear()
        async with trio.open_nursery() as nursery:
            scopes = []
            for label, wanted in (("first", first), ("second", second)):
                names = [word.split("/") for word in wanted.split() if "/" in word]
                scopes.append(
                    start(
                        nursery,
                        tree,
                        label,
                        *((getattr(tree, directory), name) for directory, name in names),
                        subtrees=tuple(getattr(tree, word) for word in wanted.split() if "/" not in word),
                    )
                )
                await wait_all_tasks_blocked()
            assert tree.granted == (["first"] if conflict else ["first", "second"])
            scopes[0].cancel()
            await wait_all_tasks_blocked()
            assert tree.granted == ["first", "second"]
            nursery.cancel_scope.cancel()


async def test_order(tree: Tree) -> None:
    """Who came first goes first: a later claim waits behind an earlier one that waits, though its own name is free."""
    a, b, c = ((tree.root, name) for name in "abc")
    async with trio.open_nursery() as nursery:
        first = start(nursery, tree, "a", a)
        await wait_all_tasks_blocked()
        second = start(nursery, tree, "a and b", a, b)
        await wait_all_tasks_blocked()
        start(nursery, tree, "b", b)
        await wait_all_tasks_blocked()
        start(nursery, tree, "c", c)
        await wait_all_tasks_blocked()
        assert tree.granted == ["a", "c"]
        assert not tree.is_free(b)  # it is wanted
        first.cancel()
        await wait_all_tasks_blocked()
        assert tree.granted == ["a", "c", "a and b"]
        second.cancel()
        await wait_all_tasks_blocked()
        assert tree.granted == ["a", "c", "a and b", "b"]
        nursery.cancel_scope.cancel()
    assert tree.is_free(a, b, c)


async def test_cancelled_while_waiting(tree: Tree) -> None:
    """Who gives up waiting has claimed nothing, and keeps none waiting."""
    a, b = (tree.root, "a"), (tree.root, "b")
    async with trio.open_nursery() as nursery:
        start(nursery, tree, "a", a)
        await wait_all_tasks_blocked()
        waiting = start(nursery, tree, "both", a, b)
        await wait_all_tasks_blocked()
        start(nursery, tree, "b", b)
        await wait_all_tasks_blocked()
        waiting.cancel()
        await wait_all_tasks_blocked()
        assert tree.granted == ["a", "b"]
        nursery.cancel_scope.cancel()
    assert tree.is_free(a, b)


async def test_claiming_is_a_checkpoint(tree: Tree) -> None:
    """A task that is cancelled claims nothing, free names neither."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with tree.claims.claim((tree.root, "a")):
            raise AssertionError("it was cancelled")
    assert scope.cancelled_caught
    assert tree.is_free((tree.root, "a"))


async def test_two_claims_in_one_task(tree: Tree) -> None:
    """A task that holds a claim must not wait for another; it may look whether names are free."""
    async with tree.claims.claim((tree.root, "a")):
        with pytest.raises(RuntimeError):
            async with tree.claims.claim((tree.root, "b")):
                pass
        assert tree.is_free((tree.root, "b"))
        assert not tree.is_free((tree.root, "a"))
    async with tree.claims.claim((tree.root, "b")):
        pass


async def test_at_once_or_not_at_all(tree: Tree) -> None:
    """`claim_now` has all its names or none, for as long as it lasts; others wait for it."""
    a, b = (tree.root, "a"), (tree.root, "b")
    async with trio.open_nursery() as nursery:
        with tree.claims.claim_now(a, b) as claim:
            assert claim is not None
            assert tree.claims.is_claimed(tree.root, "A")
            with tree.claims.claim_now(b) as second:
                assert second is None
            assert tree.claims.is_claimed(tree.root, "b")
            start(nursery, tree, "b", b)
            await wait_all_tasks_blocked()
            assert tree.granted == []
        await wait_all_tasks_blocked()
        assert tree.granted == ["b"]
        assert not tree.claims.is_claimed(tree.root, "a")
        assert not tree.claims.is_claimed(tree.d, "b")
        nursery.cancel_scope.cancel()
    assert not tree.claims.is_claimed(tree.root, "b")


async def test_extended(tree: Tree) -> None:
    """A temporary name is claimed with the rest, and given up with it."""
    async with tree.claims.claim((tree.root, "a")) as claim:
        claim.extend(tree.d, "Temporary")
        assert tree.claims.is_claimed(tree.d, "temporary")
        assert not tree.is_free((tree.d, "temporary"))
        assert tree.is_free((tree.root, "temporary"))
    assert tree.is_free((tree.d, "temporary"))


async def test_watching(tree: Tree) -> None:
    """A listing hears, folded, of each name in its directory that is claimed while it watches, or was when it began."""
    async with trio.open_nursery() as nursery:
        async with tree.claims.claim((tree.d, "Before"), (tree.root, "elsewhere")):
            with tree.claims.watch(tree.d) as touched, tree.claims.watch(tree.other) as others:
                assert touched == {"before"}
                with tree.claims.claim_now((tree.d, "Now"), (tree.root, "elsewhere too")) as claim:
                    assert claim is not None
                    claim.extend(tree.d, "Temporary")
                    claim.extend(tree.root, "yet another")
                waiting = start(nursery, tree, "waits", (tree.d, "before"), (tree.d, "waited"))
                await wait_all_tasks_blocked()
                assert touched == {"before", "now", "temporary"}
            with tree.claims.watch(tree.d) as later:
                assert later == {"before"}
        with tree.claims.watch(tree.d) as later:
            await wait_all_tasks_blocked()
            assert later == {"before", "waited"}
            waiting.cancel()
            await wait_all_tasks_blocked()
            assert later == {"before", "waited"}
        assert touched == {"before", "now", "temporary"}
        assert others == set()
    with tree.claims.watch(tree.d) as later:
        assert later == set()


async def test_one_watch_of_two_ends(tree: Tree) -> None:
    """Each listing hears until its own end."""
    with tree.claims.watch(tree.d) as longer:
        with tree.claims.watch(tree.d) as shorter:
            pass
        async with tree.claims.claim((tree.d, "a")):
            assert longer == {"a"}
            assert shorter == set()
