"""Which names a device stores as others, though it answers OK.

uMTP-Responder puts `_` for what Windows forbids and drops spaces in front. Android trims names on a card. A program
that asked for `a:b` would find nothing under that name, and perhaps `a_b` was a file of its own and has new
contents now. So before a name with an oddity is used, it is tried out, once per storage and kind of oddity. An
empty folder with the same oddities in its name is made, renamed, and deleted again. From then on names that
would be altered are refused at once, and others cost nothing.

Invariant: no object but the folder is touched, and it is deleted again as long as the device answers.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import secrets

import trio

from mtpfs.device import listing, writing
from mtpfs.device.device import Device
from mtpfs.errors import FsError, MtpfsError, ResponseError
from mtpfs.session import Handle

log = logging.getLogger(__name__)

_ALTERED_SOMEWHERE = frozenset('\\:*?"<>|;')


def oddities(name: str) -> dict[str, str]:
    """Return what in a name some device stores otherwise: by kind of oddity, the first character that has it."""
    found: dict[str, str] = {}
    for character in name:
        if character in _ALTERED_SOMEWHERE:
            found.setdefault(character, character)
        elif not character.isprintable():
            found.setdefault("control" if character < " " else "unprintable", character)
        elif character > "\uffff":
            found.setdefault("beyond U+FFFF", character)
    if name.startswith(" "):
        found["space in front"] = " "
    if name.endswith((" ", ".")):
        found[f"{name[-1]!r} at the end"] = name[-1]
    return found


async def check_spelling(device: Device, storage_id: int, parent: Handle, name: str) -> None:
    """Return if the device stores `name` as it is, or if that can't be found out. `parent` is a folder for a trial.

    Raises EINVAL if it stores another name, and what the session raises. A trial isn't interrupted by
    cancellation: what it has made has to go again.
    """
    if not oddities(name):
        return
    if _unknown(device, storage_id, name):
        with trio.CancelScope(shield=True):
            async with device.name_trial:
                if unknown := _unknown(device, storage_id, name):
                    await _try_out(device, storage_id, parent, unknown)
    altered = [kind for kind in oddities(name) if device.spelling.get((storage_id, kind)) is False]
    if altered:
        raise FsError(errno.EINVAL, f"{device.name} would store {name!r} under another name ({altered[0]})")


async def check_stored(device: Device, storage_id: int, handle: Handle, name: str) -> None:
    """Compare the name of a new object, where no trial has told; delete it if it is another one.

    Raises `FsError(EINVAL)` then, and what the session raises.
    """
    if not _unknown(device, storage_id, name):
        return
    stored = (await listing.entry(device, handle)).name
    _learn(device, storage_id, name, stored)
    if stored != name:
        with contextlib.suppress(ResponseError):
            await writing.delete(device, handle, stored)
        raise FsError(errno.EINVAL, f"{device.name} stores {name!r} as {stored!r}")


def _unknown(device: Device, storage_id: int, name: str) -> dict[str, str]:
    return {kind: text for kind, text in oddities(name).items() if (storage_id, kind) not in device.spelling}


def _learn(device: Device, storage_id: int, name: str, stored: str) -> None:
    """Note what became of each oddity. What was altered once, by making or by renaming, is altered."""
    kinds = oddities(name)
    # An emoji that became another one is still one: then anything may be the reason.
    altered = {} if name == stored else kinds.keys() - oddities(stored).keys() or kinds
    for kind in kinds:
        kept = kind not in altered and device.spelling.get((storage_id, kind)) is not False
        if not kept:
            log.info("storage 0x%08X alters names with %r: %r is %r", storage_id, kind, name, stored)
        device.spelling[storage_id, kind] = kept


def _name_with(kinds: dict[str, str]) -> str:
    front = kinds.get("space in front", "")
    end = "".join(text for kind, text in kinds.items() if kind.endswith("at the end"))
    middle = "".join(
        text for kind, text in kinds.items() if kind != "space in front" and "at the end" not in kind
    )
    return f"{front}.mtpfs-probe-{secrets.token_hex(3)}-{middle}x{end}"


async def _try_out(device: Device, storage_id: int, parent: Handle, kinds: dict[str, str]) -> None:
    name = _name_with(kinds)
    try:
        handle = await writing.make_folder(device, storage_id, parent, name)
    except (ResponseError, FsError) as error:
        log.debug("whether storage 0x%08X alters %r: %s", storage_id, name, error)
        return
    stored = name
    try:
        stored = (await listing.entry(device, handle)).name
        _learn(device, storage_id, name, stored)
        if device.can_rename:
            other = _name_with(kinds)
            with contextlib.suppress(ResponseError):  # what is refused isn't altered
                await writing.rename(device, handle, stored, other)
                stored = other
                stored = (await listing.entry(device, handle)).name
                _learn(device, storage_id, other, stored)
    except ResponseError as error:
        log.debug("whether storage 0x%08X alters %r: %s", storage_id, name, error)
    finally:
        try:
            await writing.delete(device, handle, stored)
        except MtpfsError as error:
            log.warning("%r, which was made to try out names, stays on the device: %s", stored, error)
