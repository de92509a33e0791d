"""Phones on real USB: uMTP-Responder as a gadget, and what it takes to wait for them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from equipment.programs import environment, on_usb
from vm.program import Program, mtpfs_says

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
    status, listed, errors = mtpfs_says("list", "--json")
    assert status == 0, errors
    found: list[dict[str, str]] = json.loads(listed)["devices"]
    return found


class Mount:
    """A mount in the foreground, so that its process is known and can be killed."""

    def __init__(self, source: str, mountpoint: Path, *options: str, spool: Path | None = None) -> None:
        self.mountpoint = mountpoint
        self.process = Program(source, mountpoint, "-f", *options, spool=spool)
        wait_until(lambda: mountpoint.is_mount() or self.process.poll() is not None, "the mount")
        assert self.process.poll() is None, self.process.communicate()[1]

    def unmount(self) -> str:
        """Unmount in order; return what the program logged."""
        run("fusermount3", "-u", self.mountpoint)
        _, log = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, log
        assert "Traceback" not in log, log
        return log

    def kill(self) -> None:
        """End the program where it stands, without a word to the device."""
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)
        run("fusermount3", "-u", self.mountpoint)


def port_of(serial: str) -> Path | None:
    """Return the directory in sysfs of a device that the host has set up."""
    for path in Path("/sys/bus/usb/devices").glob("*/serial"):
        try:
            if path.read_text().strip() == serial and any(path.parent.glob("*:1.0")):
                return path.parent
        except OSError:
            continue  # it has just left
    return None


class UmtpPhone:
    """uMTP-Responder serving a directory, on one of dummy_hcd's controllers.

    With its events, it is deaf until the host has taken each of them; programs that never do can't write then.
    """

    def __init__(self, number: int, directory: Path, *, events: bool = True) -> None:
        self.serial = f"0000{number}"
        self.source = f"serial:{self.serial}"
        self.directory = directory
        name = f"phone{number}"
        self.controller = sorted(path.name for path in Path("/sys/class/udc").iterdir())[number]
        self._gadget = GADGETS / name
        self._endpoints = Path(f"/dev/ffs-{name}")
        self._make_gadget(name)
        self._log = Path(f"/run/{name}.log")
        self._configuration = Path(f"/run/{name}.conf")
        self._configuration.write_text(
            f'loop_on_disconnect 1\nno_inotify {int(not events)}\nstorage "{directory}" "Internal" "rw"\n'
            f'manufacturer "Viveris Technologies"\nproduct "Phone {number}"\nserial "{self.serial}"\n'
            'firmware_version "Rev A"\ninterface "MTP"\n'
            "usb_vendor_id 0x1D6B\nusb_product_id 0x0100\nusb_class 0x6\nusb_subclass 0x1\nusb_protocol 0x1\n"
            "usb_dev_version 0x3008\nusb_functionfs_mode 0x1\nusb_max_packet_size 0x200\n"
            f'usb_dev_path "{self._endpoints}/ep0"\nusb_epin_path "{self._endpoints}/ep1"\n'
            f'usb_epout_path "{self._endpoints}/ep2"\nusb_epint_path "{self._endpoints}/ep3"\n'
        )
        self.plug_in()

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

    def plug_in(self) -> None:
        """Start the responder, connect it, and wait until the host has set it up."""
        with self._log.open("ab") as log:
            # Its control queue is System V IPC with a fixed key: two of them would steal each other's commands.
            self._program = subprocess.Popen(
                ["unshare", "--ipc", "umtprd", "-conf", self._configuration], stdout=log, stderr=log
            )
        wait_until((self._endpoints / "ep1").exists, "uMTP-Responder's start")
        (self._gadget / "UDC").write_text(self.controller)
        wait_until(lambda: self._port() is not None, "the phone's arrival")

    def unplug(self) -> None:
        """Disconnect the phone and end the responder."""
        (self._gadget / "UDC").write_text("\n")
        self._program.kill()
        self._program.wait(PATIENCE)
        wait_until(lambda: self._port() is None, "the phone's departure")

    def lock(self) -> None:
        """Hide the storage, as a locked phone does."""
        self._control("unmount:Internal")

    def unlock(self) -> None:
        """Show the storage again."""
        self._control("mount:Internal")

    @property
    def sysfs(self) -> Path:
        """The device's directory below /sys/devices, as udev and systemd call it."""
        port = self._port()
        assert port is not None
        return port.resolve()

    @property
    def node(self) -> Path:
        """The device's file under /dev/bus/usb."""
        port = self._port()
        assert port is not None
        bus, address = ((port / name).read_text() for name in ("busnum", "devnum"))
        return Path(f"/dev/bus/usb/{int(bus):03}/{int(address):03}")

    def _port(self) -> Path | None:
        return port_of(self.serial)

    def _control(self, command: str) -> None:
        run("nsenter", f"--target={self._program.pid}", "--ipc", "umtprd", f"-cmd:{command}")


class VirtualUsbPhone:
    """Our own virtual phone behind a gadget, on a controller that is free."""

    def __init__(self, directory: Path, name: str, words: str = "") -> None:
        self.directory = directory
        self.serial = name
        self.source = f"serial:{name}"
        self._program = subprocess.Popen(
            on_usb(f"{directory}?serial={name}&{words}", name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self._expect("plug")
        wait_until(lambda: any(device["serial"] == name for device in devices()), "the phone's arrival")

    def do(self, word: str) -> None:
        """Have the phone do something: a fault to come, `lock`, `unlock`, `unplug`, `plug`."""
        assert self._program.stdin
        self._program.stdin.write(f"{word}\n")
        self._program.stdin.flush()
        self._expect(word)

    def unplug(self) -> None:
        """Pull the cable."""
        self.do("unplug")
        wait_until(lambda: port_of(self.serial) is None, "the phone's departure")

    def plug_in(self) -> None:
        """Put it back."""
        self.do("plug")
        wait_until(lambda: port_of(self.serial) is not None, "the phone's arrival")

    def end(self) -> None:
        """Take the phone away for good."""
        self._program.terminate()
        self._program.communicate(timeout=PATIENCE)

    def _expect(self, word: str) -> None:
        assert self._program.stdout
        assert self._program.stdout.readline() == f"done: {word}\n"


class QemuPhone:
    """QEMU's usb-mtp, plugged in from outside the machine; `tests/vm/hand` holds it for us."""

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        self.serial = "qemu"
        self.source = f"serial:{self.serial}"
        self.directory = Path("/mnt/phone")

    def unplug(self) -> None:
        """Take it from the bus."""
        self._ask("unplug")
        wait_until(lambda: port_of(self.serial) is None, "the phone's departure")

    def plug_in(self) -> None:
        """Put it back; it has the same serial number."""
        self._ask("plug")
        wait_until(lambda: port_of(self.serial) is not None, "the phone's arrival")

    def _ask(self, word: str) -> None:
        shared = Path("/mnt")
        asked = f"{next(self._numbers)} {word}"
        (shared / "hand.asked").write_text(asked)
        (shared / "hand.asked").rename(shared / "hand.request")
        wait_until((shared / "hand.answer").exists, f"the answer to {word!r}")
        answer = (shared / "hand.answer").read_text()
        (shared / "hand.answer").unlink()
        assert answer.strip() == asked
