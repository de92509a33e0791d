"""The library: a phone for programs, on the tree and the saving of the mount, without FUSE.

`connection` opens a phone, `phone` has its operations, `file` an open file. `local` is this machine's side of
transfers, `values` what is told of phones, files and changes. `errors` makes an OSError of whatever the layers below
raise. What is public is listed in `mtpfs`, which loads this package only when one of the names is used.
"""

from mtpfs.library.connection import connect, devices
from mtpfs.library.file import File
from mtpfs.library.phone import Phone
from mtpfs.library.values import DeviceOnBus, Entry, Event, EventKind, Storage

__all__ = ["DeviceOnBus", "Entry", "Event", "EventKind", "File", "Phone", "Storage", "connect", "devices"]
