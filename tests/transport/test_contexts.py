"""Contexts of libusb: a device must not be let go after its context has ended, which crashes libusb."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import usb.backend.libusb1

from mtpfs.errors import TransportGoneError
from mtpfs.transport import usb as transport_usb
from mtpfs.transport.usb import UsbTransport, find_phones, open_phone
from transport.usbip_backend import Bus, mtp_device, usb_bus


@dataclass
class Life:
    """Of one context: whether it has ended, and how many of its devices were let go after that."""

    ended: bool = False
    crashes: list[str] = field(default_factory=list)


class Reference:
    """A context's reference to a device, as `libusb_device` is."""

    def __init__(self, port: Any, life: Life) -> None:
        self.port = port
        self._life = life

    def __del__(self) -> None:
        if self._life.ended:
            self._life.crashes.append(self.port.device.busid)


class Context:
    """A context of libusb on a bus that others may share; it ends when nobody knows it any more."""

    def __init__(self, bus: Bus, life: Life) -> None:
        self._bus = bus
        self._life = life

    def __del__(self) -> None:
        self._life.ended = True

    def enumerate_devices(self) -> Iterator[Reference]:
        return (Reference(port, self._life) for port in self._bus.enumerate_devices())

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._bus, name)
        return lambda first, *rest: call(first.port if isinstance(first, Reference) else first, *rest)


def test_devices_go_before_their_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when somebody still remembers what went wrong on the old device; each context ends in the end."""
    lives: list[Life] = []

    with usb_bus() as bus:

        def context() -> Any:
            libusb1: Any = usb.backend.libusb1
            if libusb1._lib_object is None:
                lives.append(Life())
                libusb1._lib_object = Context(bus, lives[-1])
            return libusb1._lib_object

        monkeypatch.setattr(usb.backend.libusb1, "_lib_object", None)
        monkeypatch.setattr(usb.backend.libusb1, "get_backend", context)
        monkeypatch.setattr(transport_usb, "sysfs_devices", lambda _path: {})
        monkeypatch.setattr(UsbTransport, "_may_be_back", lambda _self: True)
        remembered: list[TransportGoneError] = []
        port = bus.plug(mtp_device(tmp_path))
        transport = open_phone(find_phones()[0])
        for _ in range(3):
            bus.unplug(port)
            with pytest.raises(TransportGoneError) as caught:
                transport.read(array("B", bytes(512)), 1)
            remembered.append(caught.value)
            assert not transport.reconnect()
            port = bus.plug(mtp_device(tmp_path))
            assert transport.reconnect()
        transport.close()
        del caught
        assert len(lives) == 7
        remembered.clear()
        usb.backend.libusb1._lib_object = None
        del transport
        assert [life.ended for life in lives] == [True] * 7
        assert [life.crashes for life in lives] == [[]] * 7
