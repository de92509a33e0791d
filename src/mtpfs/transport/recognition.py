"""Which interfaces are MTP's: what sysfs tells, and the tables and descriptors that decide where sysfs leaves it open.

sysfs comes first. The kernel read the strings and the active configuration when the device was plugged in, and lets
all users see them. So a phone is found (and "no permission" said of it later) without opening its node. Only what
sysfs leaves open, a vendor-class interface without a name, is asked of the device itself, by the descriptor that
Windows asks every device for.

Invariant: pure reading of files and bytes; nothing here knows pyusb or talks to a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STILL_IMAGE = (6, 1, 1)
VENDOR_CLASS = 0xFF

VENDOR_CLASS_MAKERS = {
    0x041E: "Creative",
    0x045E: "Microsoft",
    0x0421: "Nokia",
    0x0781: "SanDisk",
    0x04E8: "Samsung",
    0x091E: "Garmin",
    0x0BB4: "HTC",
    0x1004: "LG",
    0x18D1: "Google",
    0x1949: "Amazon",
    0x22B8: "Motorola",
    0x2717: "Xiaomi",
    0x0FCE: "Sony Ericsson",
    0x054C: "Sony",
}
"""Vendor ids whose players and phones use a vendor-class MTP interface without its string.

Not Huawei: its phones have the string, and its modems have such interfaces.
"""

_NEVER_PROBED = {0x0670, 0x0765, 0x085C, 0x0971, 0x0CF3, 0x03EB}
"""Colorimeters, and chips of Atheros and Atmel, that hang on unexpected requests (libmtp's udev rules)."""
_NEVER_PROBED_PRODUCTS = {
    (0x04A9, 0xFF00, 0x2200),  # Canon scanners
    (0x04A9, 0xFFFF, 0x3113),
    (0x03F0, 0xFF00, 0xC500),  # HP scanners
    (0x0471, 0xFFFF, 0x083F),
    (0x1DB2, 0xFFF0, 0x0600),  # NFC readers
    (0x1395, 0xFFFF, 0x0280),  # a headset
}
"""(vendor, mask, product & mask)"""

_HARMLESS_DRIVERS = {"", "usbfs", "usb-storage"}
"""No driver, another MTP program, or the disk half of a player with two modes."""

_PHONE_MAKERS = set(VENDOR_CLASS_MAKERS) | {0x0B05, 0x0E8D, 0x19D2, 0x2A45, 0x2A70, 0x22D9, 0x2D95, 0x2AE5}
"""And Asus, MediaTek, ZTE, Meizu, OnePlus, Oppo, Vivo, Fairphone."""
_DEBUGGING, _BOOTLOADER = (0xFF, 0x42, 1), (0xFF, 0x42, 3)
_NOT_A_PHONE = {3, 7, 8, 9}  # keyboards and pads, printers, disks, hubs: the same makers have them
_MODES = {
    _BOOTLOADER: "its bootloader",
    (0xE0, 1, 3): "tethering",
    (0xEF, 4, 1): "tethering",
    (0x02, 0x06, 0): "tethering",
    (0x02, 0x0D, 0): "tethering",
    (0x01, 3, 0): "MIDI",
    _DEBUGGING: "USB debugging",
}
"""What a phone is there for when it isn't there for files, by interface class; the first that fits."""

OS_STRING = 0xEE
"""Index of the string descriptor that says whether a device has Microsoft's descriptors."""
OS_STRING_LENGTH = 18
OS_COMPATIBLE_ID = 4
"""wIndex of the vendor request for the compatible ids."""
OS_ANSWER_LENGTH = 16 + 24 * 8
"""Enough for eight functions."""


def vendor_class_objection(vendor_id: int, product_id: int, driver: str) -> str:
    """Return why an unnamed vendor-class interface must not be asked whether it is MTP's; "" if it may be.

    The kernel has no MTP driver. So an interface that has a driver (modems mostly) is something else.
    """
    if driver not in _HARMLESS_DRIVERS:
        return f"the driver {driver} drives it"
    if vendor_id in _NEVER_PROBED or any(
        (vendor_id, product_id & mask) == (vendor, product)
        for vendor, mask, product in _NEVER_PROBED_PRODUCTS
    ):
        return "such devices hang when they are asked"
    return ""


def os_vendor_code(string: bytes) -> int | None:
    """Return the request code that the OS string descriptor names; None if it isn't one."""
    if len(string) < OS_STRING_LENGTH or string[2:16] != "MSFT100".encode("utf-16-le"):
        return None
    return string[16]


def os_descriptor_names_mtp(answer: bytes, interface: int) -> bool:
    """Whether the compatible ids give "MTP" for that interface.

    16 bytes of header, then one section of 24 per function: first interface,
    reserved, compatible id in 8 bytes, sub-id, reserved.
    """
    sections = (answer[at : at + 24] for at in range(16, len(answer) - 9, 24))
    return any(section[0] == interface and section[2:10].rstrip(b"\0") == b"MTP" for section in sections)


@dataclass(frozen=True, slots=True)
class SysfsDevice:
    """A device's directory in sysfs; everything is empty where there is none."""

    directory: Path | None

    @property
    def port(self) -> str:
        return self.directory.name if self.directory else ""

    def text(self, attribute: str) -> str:
        return _text(self.directory / attribute) if self.directory else ""

    def interface_text(self, configuration: int, interface: int, attribute: str) -> str:
        directory = self._interface(configuration, interface)
        return _text(directory / attribute) if directory else ""

    def driver(self, configuration: int, interface: int) -> str:
        """Return the name of the kernel driver bound to the interface, "" for none."""
        directory = self._interface(configuration, interface)
        try:
            return (directory / "driver").readlink().name if directory else ""
        except OSError:
            return ""

    def interface_classes(self) -> set[tuple[int, int, int]]:
        """Return (class, subclass, protocol) of the active configuration's interfaces."""
        found = set()
        for interface in self.directory.glob(f"{self.directory.name}:*") if self.directory else ():
            numbers = [_text(interface / f"bInterface{part}") for part in ("Class", "SubClass", "Protocol")]
            if all(numbers):
                found.add((int(numbers[0], 16), int(numbers[1], 16), int(numbers[2], 16)))
        return found

    def _interface(self, configuration: int, interface: int) -> Path | None:
        if self.directory is None:
            return None
        return self.directory / f"{self.directory.name}:{configuration}.{interface}"


def sysfs_devices(root: Path) -> dict[tuple[int, int], SysfsDevice]:
    """Return the devices below /sys/bus/usb/devices by bus and address."""
    found = {}
    for directory in root.iterdir() if root.is_dir() else ():
        bus, address = _text(directory / "busnum"), _text(directory / "devnum")
        if bus.isdecimal() and address.isdecimal():  # interfaces have neither
            found[int(bus), int(address)] = SysfsDevice(directory)
    return found


def phone_in_another_mode(device: SysfsDevice) -> str | None:
    """Return what a device without MTP seems to be a phone for (`charging`, …); None: it is no phone.

    Android offers MTP only in the mode "File transfer"; in the others its interfaces are those of the mode.
    """
    classes = device.interface_classes()
    vendor = device.text("idVendor")
    if any(kind[0] in _NOT_A_PHONE for kind in classes) or not vendor:
        return None
    if int(vendor, 16) not in _PHONE_MAKERS and not classes & {_DEBUGGING, _BOOTLOADER}:
        return None
    return next((mode for kind, mode in _MODES.items() if kind in classes), "charging")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0 \n")
    except OSError:
        return ""
