"""A USB gadget by configfs with one FunctionFS function: the body of a virtual phone on a real bus.

Strategy: everything that the kernel wants is a directory or a file to write, made
in order and taken away in the opposite order, also after a failure in between.

Invariant: what `make` has made, leaving the context removes; nothing else is touched.

Source: the kernel's Documentation/usb/gadget_configfs.rst and functionfs.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtpfs.errors import SetupError

GADGETS = Path("/sys/kernel/config/usb_gadget")
CONTROLLERS = Path("/sys/class/udc")
_ENGLISH = "0x409"


@dataclass(frozen=True, slots=True)
class Identity:
    """What the phone says of itself on the bus."""

    name: str
    """Of the gadget; free to choose, but unique on this machine."""
    serial: str
    manufacturer: str = "mtpfs"
    product: str = "Virtual phone"
    vendor_id: int = 0x1D6B  # the Linux Foundation's, for gadgets
    product_id: int = 0x0100


class Gadget:
    """A gadget whose function's endpoints are the files of `endpoints`."""

    def __init__(self, identity: Identity, controller: str) -> None:
        self.endpoints = Path(f"/dev/ffs-{identity.name}")
        self._identity = identity
        self._controller = controller
        self._directory = GADGETS / identity.name

    @contextlib.contextmanager
    def made(self) -> Iterator[Gadget]:
        """Make the gadget and mount its endpoints; take both away at the end. Raises `SetupError`."""
        identity, gadget = self._identity, self._directory
        configuration, function = gadget / "configs/c.1", gadget / f"functions/ffs.{identity.name}"
        with contextlib.ExitStack() as cleanup:
            try:
                for directory in (gadget, gadget / "strings" / _ENGLISH, configuration, function):
                    directory.mkdir()
                    cleanup.callback(directory.rmdir)
                (gadget / "idVendor").write_text(f"{identity.vendor_id:#06x}")
                (gadget / "idProduct").write_text(f"{identity.product_id:#06x}")
                for attribute, value in (
                    ("serialnumber", identity.serial),
                    ("manufacturer", identity.manufacturer),
                    ("product", identity.product),
                ):
                    (gadget / "strings" / _ENGLISH / attribute).write_text(value)
                link = configuration / function.name
                link.symlink_to(function)
                cleanup.callback(link.unlink)
                self.endpoints.mkdir()
                cleanup.callback(self.endpoints.rmdir)
                subprocess.run(
                    ["mount", "-t", "functionfs", identity.name, self.endpoints],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                cleanup.callback(self._unmount)
            except OSError as error:
                raise SetupError(
                    f"no USB gadget can be made: {error}; `modprobe libcomposite usb_f_fs`"
                ) from error
            except subprocess.CalledProcessError as error:
                raise SetupError(f"FunctionFS can't be mounted: {error.stderr.strip()}") from error
            cleanup.callback(self.unplug)
            yield self

    def _unmount(self) -> None:
        # Lazily: whoever serves the endpoints may still have them open.
        subprocess.run(["umount", "-l", self.endpoints], check=True)

    def plug_in(self) -> None:
        """Connect to the controller: the host sees a new device. Raises `SetupError`."""
        try:
            (self._directory / "UDC").write_text(self._controller)
        except OSError as error:
            raise SetupError(f"{self._controller} can't be used: {error.strerror}") from error

    def unplug(self) -> None:
        """Disconnect, if connected."""
        try:
            (self._directory / "UDC").write_text("\n")
        except OSError as error:
            if error.errno != errno.ENODEV:  # it isn't connected
                raise


def free_controller() -> str:
    """Return the name of a device controller that no gadget uses. Raises `SetupError` if there is none."""
    used = {path.read_text().strip() for path in GADGETS.glob("*/UDC")}
    controllers = sorted(os.listdir(CONTROLLERS)) if CONTROLLERS.is_dir() else []
    for name in controllers:
        if name not in used:
            return name
    raise SetupError("no USB device controller is free; `modprobe dummy_hcd` makes one of software")
