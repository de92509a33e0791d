"""One phone: what it can do, where it deviates, and typed operations with fallbacks.

`device` knows the phone (capabilities, quirks, storages), `listing` reads directories, `reading` gets contents,
`writing` changes things. Each chooses by capability, and falls back when the device has promised too much.
`operations`, `room` and `recent` keep what a device says apart from what has been confirmed. `folding`, `spelling`,
`formats` and `names` know about names, `dates` about dates.
"""

from mtpfs.device.device import STORAGE_AWAY, UNKNOWN_HANDLE, Device
from mtpfs.device.objects import Entry, Storage
from mtpfs.session import Handle, Rank

__all__ = ["STORAGE_AWAY", "UNKNOWN_HANDLE", "Device", "Entry", "Handle", "Rank", "Storage"]
