"""Forgetting what has been listed: memory for as many nodes as a phone has, and not for as many as a device can invent.

Strategy: when a listing has brought the number of nodes above `MOST`, the
directories that were listed longest ago lose what is in them, unless it is
open, not sent yet, or leads to something that stays. They count as not listed then. The kernel is told to
forget the names, and drops its references; whoever comes again has the
directory listed anew, under new inode numbers.

Invariant: no node that is open, or has contents that the device hasn't got, is ever forgotten.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtpfs.vfs.node import Node
    from mtpfs.vfs.tree import Tree

log = logging.getLogger(__name__)

MOST = 1 << 19  # nodes, at half a kilobyte to one each
KEPT = MOST - MOST // 4  # nodes that remain after some were forgotten


def evict(tree: Tree, keep: Node) -> None:
    """Forget directories' contents, but not those of `keep`, if there are too many nodes."""
    known = sum(1 for node in tree.nodes.values() if not node.unlinked) if len(tree.nodes) > MOST else 0
    if known <= MOST:
        return
    listed = [
        node for node in tree.nodes.values() if node.children and not node.unlinked and node is not keep
    ]
    listed.sort(key=lambda node: node.listed_at or 0.0)
    before = known
    for directory in listed:
        if known <= KEPT:
            break
        if directory.lock.locked():
            continue
        children = directory.children
        directory.listed_at = None
        directory.children = {n: child for n, child in children.items() if child is keep or _is_needed(child)}
        known -= len(children) - len(directory.children)
        for name, child in children.items():
            if name not in directory.children:
                tree.drop(child, directory, name)
    log.info("%d of %d nodes are forgotten", before - known, before)


def _is_needed(node: Node) -> bool:
    locked = node.is_folder and node.lock.locked()
    return bool(node.content or node.children or not node.handle or locked)
