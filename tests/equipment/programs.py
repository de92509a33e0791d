"""How the programs of this folder are started: each is a process of its own, which has to find the tests' modules."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_TESTS = Path(__file__).parents[1]


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment, with the tests' modules to be found."""
    return {**os.environ, "PYTHONPATH": str(_TESTS), **more}


def held(control: Path, *, clock: str = "jumping") -> list[str]:
    """Return what stands for `mtpfs` in a call whose virtual phone obeys words on the socket `control`."""
    return [sys.executable, "-m", "equipment.held", clock, str(control)]


def on_usb(phone: str, name: str, control: Path | None = None) -> list[str]:
    """Return the call that puts a virtual phone (`DIR?words`) on a real bus, as a gadget called `name`."""
    socket = [] if control is None else ["--control", str(control)]
    return [sys.executable, "-m", "equipment.functionfs", phone, "--name", name, *socket]


def on_network(phone: str) -> list[str]:
    """Return the call that makes a virtual phone (`DIR?words`) a camera at a port of 127.0.0.1, which it prints."""
    return [sys.executable, "-m", "equipment.network", phone]
