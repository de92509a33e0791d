"""What cameras know this user by: a random number of 16 bytes, the same for ever.

A camera that has been told once to accept a computer knows it again by this number. So it is kept, for each user of
the machine, and nobody else can read it: who has it can pass for this user.

Invariant: two programs that need it for the first time at once get the same one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat

from mtpfs import state
from mtpfs.protocol.ptpip import GUID_SIZE

log = logging.getLogger(__name__)

NAME = "ptpip-guid"


def own_guid() -> bytes:
    """Return the user's number, made at the first time. Where it can't be kept it is another one each time."""
    for place in state.directories():
        try:
            directory = state.open_directory(place)
        except OSError as error:
            log.info("nothing can be kept in %s: %s", place, error)
            continue
        try:
            return _read(directory) or _make(directory)
        except OSError as error:
            log.info("nothing can be kept in %s: %s", place, error)
        finally:
            os.close(directory)
    log.warning("the number that cameras know you by can't be kept: they may ask again at each connection")
    return secrets.token_bytes(GUID_SIZE)


def _read(directory: int) -> bytes | None:
    """Return the number that is kept; None: there is none, or the file is damaged. Raises `OSError`."""
    try:
        descriptor = os.open(
            NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory
        )
    except FileNotFoundError:
        return None
    state.private(descriptor, stat.S_ISREG, 0o600, f"{NAME} isn't a file of ours")
    with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
        text = file.read(2 * GUID_SIZE + 2)
    try:
        number = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        number = b""
    return number if len(number) == GUID_SIZE else None


def _make(directory: int) -> bytes:
    """Make a number and keep it, unless another program does so at this moment: then return that one."""
    number = secrets.token_bytes(GUID_SIZE)
    name = f"{NAME}-{secrets.token_hex(8)}"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it is open already
            file.write(number.hex().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, NAME, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError:
            if (other := _read(directory)) is not None:
                return other
            os.replace(name, NAME, src_dir_fd=directory, dst_dir_fd=directory)  # it is damaged
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory)
    return number
