"""Contents that the device left, or fell silent, before it had them.

Strategy: whoever wrote them has been told, by `close` or `fsync`. But they are kept,
and sent when the device is there again: it is waited for as long as the mount
lasts, for its storages to be unlocked, too. A device that is there and fails gets a few more
tries. What it refuses, and what is left when the mount ends, goes to the
recovery directory (`mtpfs.vfs.rescue`).

Invariant: contents whose `close` has failed for want of a device are either on
the device or in a file that the log names, when the mount has ended.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

import trio

from mtpfs.errors import MtpfsError, TransportError
from mtpfs.vfs.node import Node

if TYPE_CHECKING:
    from mtpfs.vfs.filesystem import Filesystem

log = logging.getLogger(__name__)

PAUSE = 3.0  # seconds between two tries
TRIES = 3  # while the device is there and fails


async def deliver(fs: Filesystem, node: Node) -> None:
    """Send the contents of a file that nobody has open; at last give them up to the recovery directory."""
    await _deliver(fs, node)
    try:
        await fs.end(node)
    except Exception:  # whatever it is, the mount must outlive it
        log.exception("closing %s", node.path)


async def _deliver(fs: Filesystem, node: Node) -> None:
    content = node.content
    failures = 0
    while content is not None and node.content is content and content.is_stranded:
        await fs.device.session.until_back()
        try:
            with fs.device.session.pinned(anew=True):
                await fs.sync(node)
            if not node.deleted:
                log.warning("%s has arrived on the device now", node.path)
        except MtpfsError as error:
            failures += isinstance(error, TransportError) and not fs.device.session.gone
            waits = error.errno == errno.ENODEV or (isinstance(error, TransportError) and failures < TRIES)
            if not waits:
                save(fs, node, error)
                break
            await trio.sleep(PAUSE)
        except Exception as error:  # whatever it is, the mount must outlive it
            log.exception("sending %s", node.path)
            save(fs, node, error)
            break


def save(fs: Filesystem, node: Node, reason: Exception) -> None:
    """Put what the device hasn't got of a file into the recovery directory, and say so."""
    content = node.content
    if content is None or node.deleted:
        return
    node.attributes_stale = True
    try:
        for path in content.rescue(fs.device.name):
            log.error("%s could not be saved (%s); its contents are in %s", node.path, reason, path)
    except OSError as error:
        log.error("%s could not be saved (%s), nor put aside: %s", node.path, reason, error)
    content.give_up()
