"""An MTP phone that others wrote (PyPI `usbip`), reached through pyusb itself.

`usbip` has device classes and an in-process transport. `UsbipBackend` makes
them a pyusb backend, so that the very code that talks to real phones runs:
descriptors, claiming, timeouts, errors.
"""

from __future__ import annotations
