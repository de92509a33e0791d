"""The filesystem, without FUSE: names, inodes, directory cache, open files, read-ahead, write-back.

`tree` holds the nodes and merges listings into them, `filesystem` is the set of
operations, `content` what an open file's bytes are doing, `windows` the
read-ahead cache, `spool` local temporary copies, `publish` how new contents
replace old ones, `events` what the device announces, `names` the two alphabets.
"""

from mtpfs.vfs.filesystem import Filesystem, Notifier
from mtpfs.vfs.node import Node

__all__ = ["Filesystem", "Node", "Notifier"]
