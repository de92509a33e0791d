"""The filesystem, without FUSE. Four rooms, each below the one before it:

- `writeback`: what `close` couldn't do.
- `namespace`, `rules`: creating, removing, renaming.
- `files`, and below it `contents`, `saving`, `edit`: what open files hold, and how the device gets it.
- `tree`, and below it `settling`, `claims`, `node`: what is on the device.

`filesystem` puts them together for `mtpfs.fuse`; `events` applies what the device announces. At the bottom lie
`transfers`, `windows`, `spool`, `recovery`, `outcome`, `dates`, `held`, `temporaries`, `numbers`, `names`.
"""

from mtpfs.vfs.events import Notifier
from mtpfs.vfs.files import Open
from mtpfs.vfs.filesystem import Filesystem
from mtpfs.vfs.node import Node

__all__ = ["Filesystem", "Node", "Notifier", "Open"]
