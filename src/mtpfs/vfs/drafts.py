"""Files that are sent when they get their name: rsync's temporary ones.

Strategy: rsync writes `.NAME.XXXXXX`, closes it, sets its date and renames it to
NAME. Android takes a date only together with the contents, so such a file is not
sent when it is closed, but when it is renamed: then its date is known, and an
error still reaches rsync, as the rename's. One that nobody renames is sent after
`PATIENCE`. On devices that can set dates afterwards nothing waits.

Invariant: a draft's contents are in its spool until they are sent, or until the
file is unlinked.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

import trio

from mtpfs.device import Device, writing
from mtpfs.errors import MtpfsError
from mtpfs.vfs.delivery import deliver
from mtpfs.vfs.node import Node

if TYPE_CHECKING:
    from mtpfs.vfs.filesystem import Filesystem

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds between close and rename; rsync takes milliseconds
_RSYNC_NAME = re.compile(rb"\..+\.[A-Za-z0-9]{6}", re.DOTALL)


def is_draft_name(name: bytes) -> bool:
    """Tell whether rsync calls its temporary files so."""
    return _RSYNC_NAME.fullmatch(name) is not None


async def waits(device: Device, node: Node) -> bool:
    """Tell whether a file that is being closed is to be sent only when it is renamed."""
    content = node.content
    return (
        content is not None
        and content.dirty
        and not node.handle
        and not node.unlinked
        and is_draft_name(node.name)
        and device.keeps_dates is not False
        and not await writing.can_set_dates(device)
    )


async def send_later(fs: Filesystem, node: Node) -> None:
    """Send a draft that nobody has renamed."""
    content = node.content
    await trio.sleep(PATIENCE)
    if node.content is not content or content is None or content.opens:
        return
    try:
        with fs.device.session.pinned(anew=True):
            await fs.sync(node)
    except MtpfsError as error:
        log.error("%s could not be saved: %s", node.path, error)
    except Exception:  # whatever it is, the mount must outlive it
        log.exception("%s could not be saved", node.path)
    await deliver(fs, node)
