"""MTP phones on the bus as values: what is known of one, choosing among several, and failures in words.

Strategy: plain data and text, no USB. Whoever can't get at a phone is told in
one paragraph what is wrong and what to do about it.

Invariant: a chosen phone is the only one that fits its source; a mount never
guesses between two.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from mtpfs.errors import SetupError
from mtpfs.transport.holders import describe_holders
from mtpfs.transport.source import Source


class UnavailableError(SetupError):
    """A phone can't be had; `errno` says which kind of can't."""

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

    @property
    def node(self) -> str:
        return f"/dev/bus/usb/{self.bus:03}/{self.address:03}"

    @property
    def name(self) -> str:
        text = f"{self.manufacturer} {self.product}".strip()
        return text or f"{self.vendor_id:04x}:{self.product_id:04x}"

    @property
    def source(self) -> str:
        """The word that selects this phone again: by serial number where it has one."""
        return f"serial:{self.serial}" if self.serial else self.place

    @property
    def place(self) -> str:
        """The word that selects whatever is plugged in there."""
        return f"bus:{self.bus:03},{self.address:03}"

    def is_same(self, other: UsbPhone) -> bool:
        """Tell whether `other` is this device, plugged in again; maybe elsewhere, or in another USB mode."""
        if self.serial or other.serial:
            # The product id is that of the mode: with and without debugging, say.
            return (self.vendor_id, self.serial) == (other.vendor_id, other.serial)
        return (self.vendor_id, self.product_id, self.name) == (other.vendor_id, other.product_id, other.name)


def choose(phones: list[UsbPhone], source: Source) -> UsbPhone:
    """Return the phone that `source` names. Raises `SetupError`, with what there is, unless it is exactly one."""
    matching = [phone for phone in phones if _matches(phone, source)]
    if len(matching) == 1:
        return matching[0]
    # Cheap players share one serial number; only their places tell them apart.
    sources = [phone.source for phone in phones]
    there = "; ".join(
        f"{phone.name} ({phone.source if sources.count(phone.source) == 1 else phone.place})"
        for phone in matching or phones
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
            "udev rules) and plugging the phone in again gives it to whoever sits there (uaccess); over ssh, add "
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
