"""The filesystem, without FUSE. Four rooms, each below the one before it:

- `writeback`: contents that are sent after `close`.
- `namespace`, `rules`: creating, removing, renaming.
- `files`, `openfile`, and below them `contents`, `saving`, `dating`, `edit`: what open files hold, and how the device
  gets it.
- `tree`, and below it `settling`, `stale`, `claims`, `node`: what is on the device.

`filesystem` puts them together for `mtpfs.fuse`. `events` applies what the device announces. At the bottom are
`transfers`, `windows`, `spool`, `pieces`, `recovery`, `outcome`, `remembered`, `held`, `temporaries`, `numbers`,
`names`.
"""

from mtpfs.vfs.events import Notifier
from mtpfs.vfs.files import Open
from mtpfs.vfs.filesystem import Filesystem
from mtpfs.vfs.node import News, Node

__all__ = ["Filesystem", "News", "Node", "Notifier", "Open"]
