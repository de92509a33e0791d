"""MTP phones on the bus as values: what is known of one, choosing among several, and failures in words.

This is plain data and text, no USB. A user who can't get at a phone is told in one paragraph what is wrong and what
to do about it.

A phone is known by its serial number. Cheap ones have none, or all the same one. So where there is none, or two
devices with it have been seen, the port belongs to it too, for as long as this program runs.

Invariant: a chosen phone is the only one that fits its source; a mount never guesses between two.
"""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass, replace

from mtpfs.errors import SetupError
from mtpfs.transport.holders import describe_holders
from mtpfs.transport.source import Source


class UnavailableError(SetupError):
    """A phone can't be claimed; `errno` says why."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.errno = code


@dataclass(frozen=True, slots=True)
class UsbPhone:
    """An MTP interface on the bus. Texts are empty where the device has none."""

    bus: int
    address: int
    vendor_id: int
    product_id: int
    manufacturer: str
    product: str
    serial: str
    interface: int
    bulk_in: int
    bulk_out: int
    interrupt_in: int
    max_packet: int
    alternate: int = 0
    port: str = ""
    """Where it is plugged in, as sysfs has it: `1-1.4`. Unlike the address it stays the same."""
    has_twin: bool = False
    """Another device with its serial number has been seen."""

    @property
    def node(self) -> str:
        return f"/dev/bus/usb/{self.bus:03}/{self.address:03}"

    @property
    def name(self) -> str:
        text = f"{self.manufacturer} {self.product}".strip()
        return text or f"{self.vendor_id:04x}:{self.product_id:04x}"

    @property
    def source(self) -> str:
        """The word that selects this phone again: by serial number where it has one of its own."""
        return self.place if self.goes_by_port else f"serial:{self.serial}"

    @property
    def goes_by_port(self) -> bool:
        """Tell whether it differs from others only by its port."""
        return self.has_twin or not self.serial

    @property
    def place(self) -> str:
        """The word that selects what is plugged in there."""
        return f"bus:{self.bus:03},{self.address:03}"

    def is_same(self, other: UsbPhone) -> bool:
        """Tell whether `other` is this device, plugged in again; maybe elsewhere, or in another USB mode."""
        return self.is_like(other) and (not self.goes_by_port or self.port == other.port)

    def is_like(self, other: UsbPhone) -> bool:
        """Tell whether `other` describes itself as this one does."""
        if self.serial or other.serial:
            # The product id is that of the mode: with and without debugging, say.
            return (self.vendor_id, self.serial) == (other.vendor_id, other.serial)
        return (self.vendor_id, self.product_id, self.name) == (other.vendor_id, other.product_id, other.name)


def tell_apart(phones: list[UsbPhone]) -> list[UsbPhone]:
    """Return the phones on the bus, with those marked that share a serial number."""
    serials = Counter(phone.serial for phone in phones if phone.serial)
    return [replace(phone, has_twin=True) if serials[phone.serial] > 1 else phone for phone in phones]


def choose(phones: list[UsbPhone], source: Source) -> UsbPhone:
    """Return the phone that `source` names. Raises `SetupError`, with what there is, unless it is exactly one."""
    matching = [phone for phone in phones if _matches(phone, source)]
    if len(matching) == 1:
        return matching[0]
    there = "; ".join(
        f"{phone.name} ({phone.source}{f' at port {phone.port}' if phone.goes_by_port and phone.port else ''})"
        for phone in tell_apart(matching or phones)
    )
    if matching:
        raise UnavailableError(
            errno.EINVAL, f"{source.text} fits {len(matching)} devices: {there}. Choose one by its source."
        )
    if phones:
        raise UnavailableError(errno.ENODEV, f"no device fits {source.text}. There are: {there}.")
    raise UnavailableError(
        errno.ENODEV,
        "no MTP device found. Plug the phone in, unlock its screen, and choose "
        '"File transfer" (MTP) in its USB notification; `lsusb` shows whether the cable carries data.',
    )


def claim_failure(phone: UsbPhone, error: OSError) -> UnavailableError:
    """Say why a phone can't be claimed: busy, not permitted, or something else."""
    if error.errno == errno.EBUSY:
        return UnavailableError(
            errno.EBUSY, f"{phone.name} is in use by another program. {describe_holders(phone.node)}"
        )
    if error.errno == errno.EACCES:
        return UnavailableError(
            errno.EACCES,
            f"no permission to open {phone.name} ({phone.node}). On a desktop, installing libmtp-common (its "
            "udev rules) and plugging the phone in again gives it to the user at the machine (uaccess); over ssh, add "
            "a udev rule with a group that you are in, such as plugdev, or mount as root with allow_other.",
        )
    code = errno.ENODEV if error.errno is None else error.errno
    return UnavailableError(code, f"{phone.name} can't be opened: {error}. Plug it in again.")


def left_the_bus(phone: UsbPhone) -> UnavailableError:
    return UnavailableError(errno.ENODEV, f"{phone.name} has left the bus. Plug it in again.")


def _matches(phone: UsbPhone, source: Source) -> bool:
    if source.kind == "serial":
        return phone.serial == source.serial
    if source.kind == "usb":
        return (phone.vendor_id, phone.product_id) == (source.vendor_id, source.product_id)
    if source.kind == "bus":
        return (phone.bus, phone.address) == (source.bus, source.address)
    return True
