"""Phones on real USB: uMTP-Responder as a gadget, and what it takes to wait for them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

GADGETS = Path("/sys/kernel/config/usb_gadget")
MTPFS = [sys.executable, "-m", "mtpfs"]
PATIENCE = 60.0  # seconds; the machine is emulated


def run(*words: str | Path, timeout: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [str(word) for word in words],
        check=check,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what} didn't happen"
        time.sleep(0.2)


def devices() -> list[dict[str, str]]:
    """Return what `mtpfs list --json` prints."""
    found: list[dict[str, str]] = json.loads(run(*MTPFS, "list", "--json").stdout)["devices"]
    return found


class UmtpPhone:
    """uMTP-Responder serving a directory, on one of dummy_hcd's controllers."""

    def __init__(self, number: int, directory: Path) -> None:
        self.serial = f"0000{number}"
        self.directory = directory
        name = f"phone{number}"
        self._gadget = GADGETS / name
        self._endpoints = Path(f"/dev/ffs-{name}")
        self._make_gadget(name)
        configuration = Path(f"/run/{name}.conf")
        configuration.write_text(
            f'loop_on_disconnect 1\nstorage "{directory}" "Internal" "rw"\n'
            f'manufacturer "Viveris Technologies"\nproduct "Phone {number}"\nserial "{self.serial}"\n'
            'firmware_version "Rev A"\ninterface "MTP"\n'
            "usb_vendor_id 0x1D6B\nusb_product_id 0x0100\nusb_class 0x6\nusb_subclass 0x1\nusb_protocol 0x1\n"
            "usb_dev_version 0x3008\nusb_functionfs_mode 0x1\nusb_max_packet_size 0x200\n"
            f'usb_dev_path "{self._endpoints}/ep0"\nusb_epin_path "{self._endpoints}/ep1"\n'
            f'usb_epout_path "{self._endpoints}/ep2"\nusb_epint_path "{self._endpoints}/ep3"\n'
        )
        with Path(f"/run/{name}.log").open("wb") as log:
            self._program = subprocess.Popen(["umtprd", "-conf", configuration], stdout=log, stderr=log)
        wait_until((self._endpoints / "ep1").exists, "uMTP-Responder's start")
        controller = sorted(path.name for path in Path("/sys/class/udc").iterdir())[number]
        (self._gadget / "UDC").write_text(controller)
        wait_until(lambda: any(d["serial"] == self.serial for d in devices()), "the phone's arrival")

    def _make_gadget(self, name: str) -> None:
        strings = self._gadget / "strings/0x409"
        configuration = self._gadget / "configs/c.1"
        function = self._gadget / f"functions/ffs.{name}"
        for directory in (strings, configuration / "strings/0x409", function):
            directory.mkdir(parents=True)
        (self._gadget / "idVendor").write_text("0x1d6b")
        (self._gadget / "idProduct").write_text("0x0100")
        (strings / "serialnumber").write_text(self.serial)
        (strings / "manufacturer").write_text("Viveris")
        (strings / "product").write_text("Phone")
        (configuration / "strings/0x409/configuration").write_text("mtp")
        (configuration / function.name).symlink_to(function)
        self._endpoints.mkdir()
        run("mount", "-t", "functionfs", name, self._endpoints)

    def stop(self) -> None:
        """Unplug the phone."""
        (self._gadget / "UDC").write_text("\n")
        self._program.kill()
        self._program.wait(PATIENCE)
