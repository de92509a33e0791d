"""The date of an object that was just sent: what the device has made of it, and what is shown.

Where the device doesn't keep the dates of uploads, its own is asked for. Only with that can the other one be remembered
(`mtpfs.vfs.remembered`).
"""

from __future__ import annotations

import logging

from mtpfs.device import Handle, dates
from mtpfs.errors import MtpfsError, TransportError, TransportGoneError
from mtpfs.vfs import objects
from mtpfs.vfs.node import Node
from mtpfs.vfs.saving import Place
from mtpfs.vfs.tree import Tree

log = logging.getLogger(__name__)


async def show_date(tree: Tree, node: Node, place: Place, handle: Handle, modified: float) -> None:
    """Show the date that an object was sent with, and remember it if the device has another one."""
    told: float | None = modified
    is_sent = not tree.device.keeps_dates
    if is_sent:
        try:
            new, told = await _told(tree, place, handle, modified)
            is_sent = False
        except MtpfsError as error:
            # The contents are there, and that is what was asked for.
            log.info("%s: its date isn't known: %s", node.path, error)
            node.attributes_stale = True
        else:
            if new != handle:
                tree.adopted(node, new)
    tree.note_date(node, told, is_sent=is_sent)
    tree.remember_date(node, modified)


async def _told(tree: Tree, place: Place, handle: Handle, modified: float) -> tuple[Handle, float | None]:
    """Return the object's handle, which the rename before may have cost it, and the device's date.

    It is asked again if it was only disturbed: nobody will ask for this date later.
    """
    told: float | None = None

    async def learn(one: Handle) -> None:
        nonlocal told
        told = await dates.learn_date(tree.device, one, modified)

    async def once() -> Handle:
        return await objects.changed(handle, learn, lambda: place.find_named(tree.device, place.name))

    try:
        return await once(), told
    except TransportGoneError:
        raise
    except TransportError as error:
        log.info("%s: its date is asked for again: %s", place.path, error)
        return await once(), told
