"""The object table: directories as MTP objects with handles.

It is a tree of nodes that is built when it is needed, one directory at a time,
and corrected by every new look at that directory. Handles are given out in
sequence and never twice. What changed without the host's doing is told
to `notify`, which makes events of it. `poll` looks for such changes cheaply,
by the modification times of the directories that were listed. Our own changes
are entered by the code that makes them (`changing`), so they cost no new look.
Whether a name is free is asked of the table and of that name on the disk
(`taken`). So no change costs more because its directory is larger.

A name that the host vacated can stay behind as a ghost: taken and listed
until the phone has noticed. AOSP drops it when inotify tells, here a clock does.
Or the name is free at once, and the notice comes late (`hear`). Then what has the
name by that time is dropped in place of what has left it.

Invariant: nothing outside the storages' directories is read or written.
Symbolic links are neither shown nor followed, and an opened path is checked
to lie where its node says.

Source of the semantics: AOSP, MtpStorageManager.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mtpfs.protocol.codes import Event, Response

FIRST_STORAGE_ID = 0x00010001
STORAGE_ID_STEP = 0x00010000
SETTLED = 100_000_000
"""Nanoseconds after which a directory's time stamp can be trusted to differ after one more change."""
FILES_PER_POLL = 256
FOLDERS_PER_POLL = 64
ROUND_PAUSE = 0.02
"""Seconds between two looks of `poll` at files, so that it doesn't burden every command."""
LARGE = 256
"""Entries from which on a look is too expensive to be repeated without a reason."""
REST = 10
"""How many times as long as a look at something large took it isn't repeated on mere suspicion."""
NOTICE_SECONDS = 0.005
"""How long after a change its notice comes at the latest, where notices come late."""
GHOST_MEETINGS = 3
"""Commands after which a ghost ends though its time isn't over.

Time may stand still for the phone while its host waits (trio's MockClock), and
a host that tries again must get through at last.
"""


class Refusal(Exception):  # noqa: N818 - not an error of this program: an answer
    """Ends an operation with a response code other than OK."""

    def __init__(self, code: int, *parameters: int) -> None:
        super().__init__(code)
        self.code = code
        self.parameters = parameters


class Node:
    """An object (or, with handle 0, the root of a storage)."""

    __slots__ = (
        "buried",
        "children",
        "first_size",
        "folder",
        "ghosts",
        "handle",
        "listed",
        "lost",
        "name",
        "of_storage",
        "ours_until",
        "parent",
        "phantom",
        "rest_until",
        "seen",
        "settled",
        "spellings",
        "stamp",
        "unwatched",
    )

    def __init__(self, handle: int, parent: Node | None, name: str, *, folder: bool) -> None:
        self.handle = handle
        self.parent = parent
        self.name = name
        self.folder = folder
        self.children: dict[str, Node] = {}
        self.spellings: dict[str, str] = {}
        """The children's names by their folded ones; the first of several counts."""
        self.listed = False
        self.stamp = -1
        """Modification time of the directory when it was last listed; -1: look again."""
        self.settled = False
        """One more change can't hide behind the same stamp."""
        self.rest_until = 0.0
        """When to look again although the stamp says that there is no need."""
        self.ours_until = 0.0
        """Until when `poll` takes the last change for ours. A run of changes then costs one look, at its end."""
        self.ghosts: dict[str, Ghost] = {}
        """In folders: names that were vacated and stay taken for a while."""
        self.lost: set[str] = set()
        """In folders: names of files that are there and that the table doesn't know any more."""
        self.buried = False
        """Deleted, but still listed."""
        self.unwatched = False
        """Changes in this folder are noticed, but not told."""
        self.first_size: int | None = None
        """Size of the file when it was first seen, or sent."""
        self.seen: tuple[int, int] | None = None
        """Size and modification time of a file when it was last polled."""
        self.phantom = False
        """Announced by SendObjectInfo, never sent: Android keeps such names reserved."""
        self.of_storage: Storage | None = None
        """Set in roots only."""

    @property
    def storage(self) -> Storage:
        """The storage that it is in."""
        node = self
        while node.parent is not None:
            node = node.parent
        assert node.of_storage is not None
        return node.of_storage


@dataclass(slots=True)
class Ghost:
    """What is left of an object in the folder that it has left."""

    node: Node
    until: float
    meetings: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """That a name in a folder was vacated: told by the kernel, not heard yet."""

    folder: Node
    name: str
    due: float
    next_handle: int
    """What was made after that has this handle or a later one."""


class Storage:
    """One storage: an id, a directory, a root node."""

    def __init__(self, number: int, path: Path, description: str, *, removable: bool = False) -> None:
        self.id = FIRST_STORAGE_ID + number * STORAGE_ID_STEP
        self.path = os.path.realpath(path)
        self.description = description
        self.removable = removable or number > 0
        self.used: int | None = None
        """Bytes that all files take; None: to be counted."""
        self.count_until = 0.0
        """Until when that count is good enough."""
        self.root = Node(0, None, "", folder=True)
        self.root.of_storage = self


class Store:
    """All objects of a phone. `notify` is called with an event code and a handle."""

    def __init__(
        self,
        storages: list[Storage],
        notify: Callable[[Event, int], None],
        *,
        case_insensitive: bool = False,
        capacity: int | None = None,
        ghost_seconds: float = 0.0,
        notices_late: bool = False,
        finds_again: bool = False,
        hides_dot_names: bool = False,
    ) -> None:
        self.all_storages = storages
        self._notify = notify
        self._case_insensitive = case_insensitive
        self._capacity = capacity
        self._ghost_seconds = ghost_seconds
        self._notices_late = notices_late
        self._finds_again = finds_again
        self._renames = 0
        self._notices: deque[Notice] = deque()
        self._hides_dot_names = hides_dot_names
        self.clock: Callable[[], float] = time.monotonic
        """What a ghost's time is measured with; the transport's, where there is one."""
        self._nodes: dict[int, Node] = {}
        self._next_handle = 1
        self._watched: dict[int, Node] = {}
        """Folders that were listed, by identity; roots have no handle of their own."""
        self._round: Iterator[int] = iter(())
        """The files still to be looked at in this round of `poll`."""
        self._folder_round: Iterator[int] = iter(())
        self._next_round = 0.0
        self.available = True
        """False while the phone is locked: Android withdraws its storages."""

    @property
    def storages(self) -> list[Storage]:
        """The storages that a host can see: none while the phone is locked."""
        return self.all_storages if self.available else []

    # --- finding

    def storage(self, storage_id: int) -> Storage:
        """Return a storage by id; 0 is the first one. Raises `Refusal` (InvalidStorageID)."""
        for storage in self.storages:
            if storage_id in {0, storage.id}:
                return storage
        raise Refusal(Response.InvalidStorageID)

    def node(self, handle: int) -> Node:
        """Return an object that exists at this moment. Raises `Refusal` (InvalidObjectHandle)."""
        node = self._nodes.get(handle)
        if node is None or not self.available:
            raise Refusal(Response.InvalidObjectHandle)
        if not node.phantom and not os.path.lexists(self.path(node)) and not self._is_ghost(node):
            # Android learns this from inotify, we learn it when asked
            self.forget(node)
            self._notify(Event.ObjectRemoved, handle)
            raise Refusal(Response.InvalidObjectHandle)
        return node

    def path(self, node: Node) -> str:
        """Return where `node` is in the host's filesystem. For a look only: see `checked_path`."""
        names = []
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return "/".join([node.storage.path, *reversed(names)])

    def checked_path(self, parent: Node, name: str) -> str:
        """Return the path of `name` in `parent` for opening, creating or removing.

        Raises `Refusal` (GeneralError) when a symbolic link has taken the place of a directory
        on the way, `OSError` when a directory can't be read. On a case-insensitive storage it is the path of
        whichever entry the name hits.
        """
        directory = self.path(parent)
        if os.path.realpath(directory) != directory:
            raise Refusal(Response.GeneralError)
        path = f"{directory}/{name}"
        if self._case_insensitive and not os.path.lexists(path):
            wanted = name.casefold()
            known = parent.spellings.get(wanted)
            if parent.listed and known in {None, name}:
                return path
            if known is not None and os.path.lexists(f"{directory}/{known}"):
                return f"{directory}/{known}"
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.name.casefold() == wanted:
                        return entry.path
        return path

    def path_of(self, node: Node) -> str:
        """Return the checked path of an object. Raises `Refusal`."""
        assert node.parent is not None, "a storage's root is not an object"
        return self.checked_path(node.parent, node.name)

    def status(self, node: Node) -> tuple[int, float]:
        """Return size and modification time; zeros for what isn't there, size 0 for folders."""
        try:
            status = os.lstat(self.path(node))
        except OSError:
            return 0, 0.0
        return (0 if node.folder else status.st_size), status.st_mtime

    def free(self, storage: Storage) -> tuple[int, int]:
        """Return capacity and free space in bytes."""
        numbers = os.statvfs(storage.path)
        capacity, free = numbers.f_blocks * numbers.f_frsize, numbers.f_bavail * numbers.f_frsize
        if self._capacity is not None:
            capacity, free = self._capacity, min(free, max(0, self._capacity - self._used(storage)))
        return capacity, free

    def _used(self, storage: Storage) -> int:
        now = time.monotonic()
        if storage.used is None or now >= storage.count_until:
            storage.used, count = 0, 0
            for directory, _, files in os.walk(storage.path):
                storage.used += sum(os.lstat(f"{directory}/{name}").st_size for name in files)
                count += len(files)
            rest = REST * (time.monotonic() - now) if count > LARGE else 0.0
            storage.count_until = time.monotonic() + rest
        return storage.used

    def spend(self, storage: Storage, size: int) -> None:
        """Correct the count of used bytes by what an operation took."""
        if storage.used is not None:
            storage.used += size

    def recount(self, storage: Storage) -> None:
        """Count anew at the next question: an operation gave back an unknown number of bytes."""
        storage.used = None

    # --- listing

    def children(self, folder: Node) -> list[Node]:
        """Look at a directory and return its objects. Raises `Refusal` (InvalidObjectHandle) if it is none."""
        if not folder.folder:
            raise Refusal(Response.InvalidObjectHandle)
        try:
            self._scan(folder)
        except OSError as error:
            raise Refusal(Response.InvalidObjectHandle) from error
        return [*folder.children.values(), *self._listed_ghosts(folder)]

    def taken(self, folder: Node, name: str) -> bool:
        """Look whether a name can't be given to a new object. Case matters, on any storage."""
        try:
            if folder.listed:
                self._look_at(folder, name)
            else:
                self._scan(folder)
        except OSError as error:
            raise Refusal(Response.InvalidObjectHandle) from error
        return name in folder.children or self._meets_ghost(folder, name)

    def descendants(self, folder: Node) -> Iterator[Node]:
        """Walk everything below `folder`."""
        for node in self.children(folder):
            yield node
            if node.folder and not node.phantom and not self._is_ghost(node):
                yield from self.descendants(node)

    def _look_at(self, folder: Node, name: str) -> None:
        """Bring one name in a listed folder up to date."""
        directory = self.path(folder)
        if os.path.realpath(directory) != directory:
            raise Refusal(Response.InvalidObjectHandle)
        os.lstat(directory)  # it may have gone, and then no name is free
        try:
            mode = os.lstat(f"{directory}/{name}").st_mode
        except OSError:  # it isn't there, or is too long to be
            mode = 0
        is_folder = stat.S_ISDIR(mode) if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else None
        if self._hides_dot_names and name.startswith("."):
            is_folder = None
        known = folder.children.get(name)
        if known is not None:
            self._check_there(known, is_folder, told=not folder.unwatched)
        if is_folder is not None:
            self._check_known(folder, name, is_folder=is_folder, told=not folder.unwatched)

    def _check_there(self, node: Node, is_folder: bool | None, *, told: bool) -> None:
        """Drop an object that isn't what is on the disk now: a folder, a file, nothing (None)."""
        if is_folder != node.folder and not node.phantom and not self._is_hidden(node):
            self.forget(node)
            if told:
                self._notify(Event.ObjectRemoved, node.handle)

    def _check_known(self, folder: Node, name: str, *, is_folder: bool, told: bool) -> bool:
        """Enter what is on the disk, if it is new; False: a ghost has its name still."""
        if name in folder.ghosts and self._ghost(folder, name) is not None:
            return False  # AOSP hears of the new one after the old one's end
        if name not in folder.children and name not in folder.lost:
            node = self.adopt(folder, name, folder=is_folder)
            self.note_content(node)  # what changes after the host has heard of it is reported
            if told:
                self._announce(node)
        return True

    def _scan(self, folder: Node, *, is_poll: bool = False) -> None:
        directory = self.path(folder)
        stamp, started = os.lstat(directory).st_mtime_ns, time.monotonic()
        if folder.listed and folder.stamp == stamp:
            is_ours = is_poll and started < folder.ours_until
            if folder.settled or started < folder.rest_until or is_ours:
                return
        if os.path.realpath(directory) != directory:
            raise Refusal(Response.InvalidObjectHandle)
        found: dict[str, bool] = {}
        with os.scandir(directory) as entries:
            for entry in entries:
                if self._hides_dot_names and entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found[entry.name] = True
                elif entry.is_file(follow_symlinks=False):
                    found[entry.name] = False
        known_before = folder.listed and not folder.unwatched
        self.watch(folder)
        for node in [*folder.children.values()]:
            self._check_there(node, found.get(node.name), told=known_before)
        haunted = False
        folder.lost &= found.keys()
        for name, is_folder in found.items():
            haunted |= not self._check_known(folder, name, is_folder=is_folder, told=known_before)
        folder.stamp = -1 if haunted else stamp
        folder.settled = time.time_ns() - stamp > SETTLED
        now = time.monotonic()
        folder.rest_until = now + REST * (now - started) if len(found) > LARGE else 0.0

    def _is_hidden(self, node: Node) -> bool:
        """Tell whether a listing passes over this object, which was made by the initiator."""
        return self._hides_dot_names and node.name.startswith(".") and os.path.lexists(self.path(node))

    def _announce(self, node: Node) -> None:
        """Tell of a new object. New folders are watched at once, as Android does."""
        self._notify(Event.ObjectAdded, node.handle)
        if node.folder:
            self.watch(node)
            with suppress(OSError):  # gone again already
                self._scan(node)

    def watch(self, folder: Node) -> None:
        """Report changes in `folder` from now on: what it holds now counts as listed."""
        folder.listed = True
        if not folder.unwatched:
            self._watched[id(folder)] = folder

    def poll(self, busy: frozenset[int] = frozenset()) -> None:
        """Look for changes in listed directories; `busy` names objects whose content is being edited."""
        if not self.available:
            return
        for folder in self._due_folders():
            try:
                self._scan(folder, is_poll=True)
            except (OSError, Refusal):
                folder.stamp = -1  # its own parent's turn reports the removal
        now = time.monotonic()
        if now < self._next_round:
            return
        self._next_round = now + ROUND_PAUSE
        handles = list(islice(self._round, FILES_PER_POLL))
        if not handles:
            self._round = iter([*self._nodes])
        for node in filter(None, map(self._nodes.get, handles)):
            if not node.folder and not node.phantom and not node.buried and node.handle not in busy:
                self._look(node)

    def _due_folders(self) -> Iterator[Node]:
        """Yield the folders whose turn it is: all of them where they are few."""
        keys = list(islice(self._folder_round, FOLDERS_PER_POLL))
        if len(keys) < FOLDERS_PER_POLL:
            self._folder_round = iter([*self._watched])
            keys += islice(self._folder_round, FOLDERS_PER_POLL - len(keys))
        for key in keys:
            folder = self._watched.get(key)
            if folder is None:
                continue
            if self._nodes.get(folder.handle) is folder or folder.parent is None:
                yield folder
            else:
                del self._watched[key]

    def _look(self, node: Node) -> None:
        before = node.seen
        self.note_content(node)
        if before is not None and node.seen is not None and node.seen != before and node.seen[0]:
            self._notify(Event.ObjectInfoChanged, node.handle)

    # --- ghosts

    def bury(self, node: Node) -> None:
        """Note that an object was deleted: it stays listed as long as ghosts do."""
        self.recount(node.storage)
        self._expect_notice(node)
        if not self._ghost_seconds or node.parent is None:
            self.forget(node)
            return
        node.buried = True
        self._leave(node)
        node.parent.ghosts[node.name] = Ghost(node, self.clock() + self._ghost_seconds)

    def _leave_ghost(self, node: Node) -> None:
        """Leave a dummy with the object's handle where the object is about to leave."""
        if self._ghost_seconds and node.parent is not None:
            dummy = Node(node.handle, node.parent, node.name, folder=node.folder)
            dummy.listed = True
            node.parent.ghosts[node.name] = Ghost(dummy, self.clock() + self._ghost_seconds)

    def _ghost(self, folder: Node, name: str) -> Ghost | None:
        """Return a ghost that still counts."""
        ghost = folder.ghosts.get(name)
        if ghost is None:
            return None
        if self.clock() < ghost.until and ghost.meetings < GHOST_MEETINGS:
            return ghost
        del folder.ghosts[name]
        if ghost.node.buried:
            self.forget(ghost.node)
        folder.stamp = -1  # something else may be there by now
        return None

    def _meets_ghost(self, folder: Node, name: str) -> bool:
        ghost = self._ghost(folder, name)
        if ghost is not None:
            ghost.meetings += 1
        return ghost is not None

    def _listed_ghosts(self, folder: Node) -> list[Node]:
        nodes = [
            ghost.node for ghost in [*folder.ghosts.values()] if self._meets_ghost(folder, ghost.node.name)
        ]
        return nodes if self.available else []

    def _is_ghost(self, node: Node) -> bool:
        """Tell whether an object, or a folder above it, was deleted a moment ago."""
        at: Node | None = node
        while at is not None and at.parent is not None:
            ghost = at.parent.ghosts.get(at.name)
            if ghost is not None and ghost.node is at:
                return self._ghost(at.parent, at.name) is not None
            at = at.parent
        return False

    # --- late notices

    def _expect_notice(self, node: Node) -> None:
        if self._notices_late and node.parent is not None:
            due = self.clock() + NOTICE_SECONDS
            self._notices.append(Notice(node.parent, node.name, due, self._next_handle))

    def hear(self, *, everything: bool = False) -> None:
        """Hear which names were vacated, as far as it is due, and drop what has them now.

        What was made under such a name is found again, as something new. What was renamed is found again by some
        (`finds_again`); others look only at its going (buteo-mtp, handleFSDelete, handleFSCreate and handleFSMove).
        """
        while self._notices and (everything or self.clock() >= self._notices[0].due):
            notice = self._notices.popleft()
            node = notice.folder.children.get(notice.name)
            if node is None:
                continue
            self._notify(Event.ObjectRemoved, node.handle)
            self.forget(node)
            if node.handle < notice.next_handle and not self._finds_again:
                notice.folder.lost.add(notice.name)
            notice.folder.stamp = -1

    # --- changing the table (the caller changes the files)

    @contextmanager
    def changing(self, folder: Node) -> Iterator[None]:
        """Wrap a change of our own, so that it needn't be found by a new look at the directory."""
        known = folder.stamp >= 0 and folder.stamp == self._stamp(folder)
        try:
            yield
        finally:
            folder.stamp, folder.settled = (self._stamp(folder) if known else -1), False
            folder.ours_until = time.monotonic() + SETTLED / 1e9

    def _stamp(self, folder: Node) -> int:
        try:
            return os.lstat(self.path(folder)).st_mtime_ns
        except OSError:
            return -1

    def adopt(self, parent: Node, name: str, *, folder: bool) -> Node:
        """Enter a new object and give it a handle."""
        node = Node(self._next_handle, parent, name, folder=folder)
        self._next_handle += 1
        parent.lost.discard(name)
        self._enter(node, parent)
        self._nodes[node.handle] = node
        return node

    def forget(self, node: Node) -> None:
        """Drop an object and all below it."""
        for child in [*node.children.values()]:
            self.forget(child)
        self._nodes.pop(node.handle, None)
        self._leave(node)

    def _enter(self, node: Node, parent: Node) -> None:
        parent.children[node.name] = node
        parent.spellings.setdefault(node.name.casefold(), node.name)

    def _leave(self, node: Node) -> None:
        if node.parent is not None and node.parent.children.get(node.name) is node:
            del node.parent.children[node.name]
            folded = node.name.casefold()
            if node.parent.spellings.get(folded) == node.name:
                del node.parent.spellings[folded]

    def renumber(self) -> None:
        """Give every object a handle that no object has had before."""
        nodes, self._nodes = [*self._nodes.values()], {}
        for node in nodes:
            node.handle = self._next_handle
            self._next_handle += 1
            self._nodes[node.handle] = node
        self._round = iter(())

    def vanish(self, handle: int) -> None:
        """Delete an object's file as a user of the phone does. The table learns of it at the next look."""
        node = self._nodes.get(handle)
        if node is not None and not node.folder:
            with suppress(OSError, Refusal):
                Path(self.path_of(node)).unlink()

    def relocate(self, node: Node, parent: Node, name: str) -> None:
        """Note that an object has a new place; it keeps its handle."""
        assert node.parent is not None, "a storage's root never moves"
        self._leave_ghost(node)
        self._expect_notice(node)
        self._leave(node)
        replaced = parent.children.get(name)
        if replaced is not None:
            self.forget(replaced)
        node.parent, node.name = parent, name
        self._enter(node, parent)

    def renamed(self, node: Node) -> None:
        """Note that an object was renamed: where notices come in the middle of that, it may get another handle.

        What a folder holds isn't known any more then, because it belongs to the old handle.
        """
        self._renames += 1
        if not self._finds_again or self._renames % 2:
            return
        for child in [*node.children.values()]:
            self.forget(child)
        node.listed = False
        self._notify(Event.ObjectRemoved, self._nodes.pop(node.handle).handle)
        node.handle = self._next_handle
        self._next_handle += 1
        self._nodes[node.handle] = node
        self._notify(Event.ObjectAdded, node.handle)

    def note_content(self, node: Node) -> None:
        """Remember a file's size and time, so that `poll` doesn't report this state again."""
        try:
            status = os.lstat(self.path(node))
        except OSError:
            return
        if stat.S_ISREG(status.st_mode):
            node.seen = (status.st_size, status.st_mtime_ns)
            if node.first_size is None:
                node.first_size = status.st_size
