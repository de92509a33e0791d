"""The mount option `thumbnails`: entries for the pictures of directories that programs list.

A file manager that opens a folder looks for an entry of each picture it shows, and reads the picture where it finds
none. So what is here before it asks saves a photo. Nothing waits for this: each thumbnail is asked for when no
program has asked for anything for a moment (`Rank.BACKGROUND`). The directory that was listed last comes first, its
newest files first. One that nobody has listed or read from for `STAY` seconds counts as left, and so does one among
more than `MOST`. A device that is busy is left alone until somebody lists again.

A device may have no thumbnail yet, and announce a change when it has (Sailfish): then it is asked once more. What
vanishes loses its entries, but not at once, because a phone that is about to be locked tells the same of all its
files: after a moment the storage has to be there, and the name not.

Invariant: an entry tells the date and size that the file has on the mount when it is written, and nothing here raises
into the mount. A thumbnail of a file that has changed meanwhile is dropped.
"""

from __future__ import annotations

import errno
import heapq
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from mtpfs.device import Rank
from mtpfs.errors import MtpfsError, SetupError
from mtpfs.thumbnails.decoder import Decoder, UnreadableError
from mtpfs.thumbnails.entries import SIZES, Cache
from mtpfs.thumbnails.kinds import may_have_one
from mtpfs.vfs import Filesystem, News, Node

log = logging.getLogger(__name__)

T = TypeVar("T")

STAY = 60.0  # seconds after its last listing, or reading in it, for which a directory is worked on
MOST = 8  # directories that are remembered
MOST_SEEN = 64  # directories of which it is remembered what was in them
GRACE = 1.0  # seconds until the entries of what has vanished are removed
MOST_TRIED = 100_000  # files that are known to have no thumbnail, or to have an entry
MOST_GONE = 10_000  # vanished files whose entries wait to be removed
_SIZES = tuple(SIZES.values())

Stamp = tuple[float, int]


@dataclass(slots=True)
class _Visit:
    """A directory that was listed: what is still to be done in it."""

    at: float
    left: list[tuple[float, int, Node]] | None = None
    """A heap, the newest file first; None: not looked at since the last listing."""


class Visitor:
    """Makes the entries of one mount. `mountpoint` has no symbolic links. Called on the trio thread."""

    def __init__(self, fs: Filesystem, cache: Cache, decoder: Decoder, mountpoint: bytes) -> None:
        self._fs = fs
        self._cache = cache
        self._decoder = decoder
        self._mountpoint = mountpoint.rstrip(b"/")
        self._visits: OrderedDict[Node, _Visit] = OrderedDict()
        """The latest last."""
        self._seen: OrderedDict[bytes, list[bytes]] = OrderedDict()
        """By a directory's path, which of its files may have entries."""
        self._tried: dict[int, Stamp] = {}
        """By inode number, for which date and size there is nothing more to be done."""
        self._gone: deque[tuple[float, Node, bytes, bytes]] = deque()
        """When it has vanished, from which directory, under which name, and its path on the mount."""
        self._arrival = trio.Event()
        self._is_over = False

    # --- what is told ------------------------------------------------------------------

    def listed(self, directory: Node) -> None:
        """Note that a program lists a directory."""
        if self._is_over:
            return
        self._visits[directory] = _Visit(trio.current_time())
        self._visits.move_to_end(directory)
        if len(self._visits) > MOST:
            self._visits.popitem(last=False)
        self._arrival.set()

    def read(self, file: Node) -> None:
        """Note that a program opens a file: its directory isn't left yet."""
        visit = self._visits.get(file.parent) if file.parent is not None else None
        if visit is not None:
            visit.at = trio.current_time()
            self._arrival.set()

    def removed(self, directory: Node, name: bytes) -> None:
        """Note that a program has removed a name, or given the file another one."""
        self._vanished(directory, name, b"%s/%s" % (directory.path_bytes, name))

    def heard(self, news: News, node: Node) -> None:
        """Note what has become of a name without a program's doing."""
        if self._is_over or node.is_storage or node.parent is None:
            return
        if news is News.VANISHED:
            if node.is_folder:
                self._folder_vanished(node)
            else:
                self._vanished(node.parent, node.name, node.path_bytes)
            return
        self._tried.pop(node.ino, None)
        directory = node if node.is_folder else node.parent
        visit = self._visits.get(directory)
        if visit is not None:
            visit.left = None
            self._arrival.set()

    def _folder_vanished(self, folder: Node) -> None:
        """Note that what was in a folder has gone with it: the tree doesn't know it any more."""
        above = folder.path_bytes
        for path in [path for path in self._seen if path == above or path.startswith(above + b"/")]:
            for name in self._seen.pop(path):
                self._vanished(folder, name, b"%s/%s" % (path, name))

    def _vanished(self, directory: Node, name: bytes, path: bytes) -> None:
        if not self._is_over and may_have_one(name) and len(self._gone) < MOST_GONE:
            self._gone.append((trio.current_time(), directory, name, path))
            self._arrival.set()

    # --- what is done ------------------------------------------------------------------

    async def run(self) -> None:
        """Make entries, until cancelled, or until it proves to be impossible."""
        try:
            while not self._is_over:
                self._arrival = trio.Event()
                await self._remove_gone()
                node = self._next()
                if node is not None:
                    await self._make(node)
                    continue
                with trio.move_on_after(GRACE) if self._gone else trio.CancelScope():
                    await self._arrival.wait()
        except (OSError, SetupError) as error:
            log.warning("no more thumbnails are made: %s", error)
        except Exception:  # a bug here must not end the mount
            log.exception("no more thumbnails are made")
        finally:
            self._is_over = True
            self._visits.clear()
            self._gone.clear()
            self._decoder.close()

    def _next(self) -> Node | None:
        """Return the file whose turn it is. Directories that were left are forgotten."""
        for directory in [*reversed(self._visits)]:
            visit = self._visits[directory]
            if directory.unlinked or trio.current_time() - visit.at > STAY:
                del self._visits[directory]
                continue
            if visit.left is None:
                visit.left = self._looked_at(directory)
            while visit.left:
                node = heapq.heappop(visit.left)[2]
                if self._is_open(node):
                    return node
        return None

    def _looked_at(self, directory: Node) -> list[tuple[float, int, Node]]:
        files = [
            node for node in directory.children.values() if not node.is_folder and may_have_one(node.name)
        ]
        self._seen[directory.path_bytes] = [node.name for node in files]
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        left = [(-node.modified, node.ino, node) for node in files if self._is_open(node)]
        heapq.heapify(left)
        return left

    def _is_open(self, node: Node) -> bool:
        """Tell whether there may be something to be done for a file."""
        is_settled = self._tried.get(node.ino) == _stamp(node) and not node.attributes_stale
        return not (is_settled or node.unlinked or node.is_ahead) and node.size_known

    async def _make(self, node: Node) -> None:
        try:
            await self._make_entry(node)
        except UnreadableError as error:
            log.info("%s: %s", node.path, error)
            self._settle(node, _stamp(node))
        except SetupError:
            raise
        except MtpfsError as error:
            log.debug("no thumbnail of %s: %s", node.path, error)
            if error.errno == errno.EOPNOTSUPP:
                self._is_over = True  # the device has none of any file
            elif error.errno == errno.ENODEV:
                self._visits.clear()
                await self._fs.device.session.until_back()
            elif error.errno == errno.EBUSY:
                self._visits.clear()  # what is asked of a busy device makes it busier
            else:
                self._settle(node, _stamp(node))

    async def _make_entry(self, node: Node) -> None:
        await self._fs.refresh(node)
        stamp, path = _stamp(node), self._mountpoint + node.path_bytes
        if node.unlinked or await _in_thread(lambda: self._cache.is_settled(path, *stamp)):
            self._settle(node, stamp)
            return
        data = await self._fs.thumbnail(node, Rank.BACKGROUND)
        picture = await _in_thread(lambda: self._decoder.decode(data, _SIZES))
        if self._is_as_it_was(node, stamp, path):
            await _in_thread(lambda: self._cache.store(path, *stamp, picture))
            self._settle(node, stamp)
            if not self._is_as_it_was(node, stamp, path) and node.parent is not None:
                self._gone.append((trio.current_time(), node.parent, node.name, node.path_bytes))

    def _is_as_it_was(self, node: Node, stamp: Stamp, path: bytes) -> bool:
        """Tell whether a file is still what it was when its thumbnail was asked for, and where it was."""
        has_changed = node.unlinked or node.is_ahead or node.attributes_stale or _stamp(node) != stamp
        return not has_changed and self._mountpoint + node.path_bytes == path

    def _settle(self, node: Node, stamp: Stamp) -> None:
        if len(self._tried) >= MOST_TRIED:
            self._tried.clear()
        self._tried[node.ino] = stamp

    async def _remove_gone(self) -> None:
        while self._gone and trio.current_time() - self._gone[0][0] >= GRACE:
            _, directory, name, path = self._gone.popleft()
            is_there = not self._fs.device.session.gone and self._is_shown(directory)
            if is_there and name not in directory.children:
                await _in_thread(lambda path=path: self._cache.remove(self._mountpoint + path))  # type: ignore[misc]

    def _is_shown(self, directory: Node) -> bool:
        """Tell whether the storage that a directory is on, or was on, is there."""
        *_, top = [node for node in directory.ancestry() if node.parent is not None] or [directory]
        root = self._fs.tree.root
        return top is root or root.children.get(top.name) is top or root.storage is not None


def _stamp(node: Node) -> Stamp:
    return float(int(node.modified)), node.size


async def _in_thread(work: Callable[[], T]) -> T:
    """Run what blocks. It isn't waited for when the mount ends: it ends by itself, and soon."""
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)
