"""The operations that change what is there: upload, delete, move, copy, rename.

The order of steps is AOSP's: look whether the table allows it, do it to
the files, correct the table. Nearly every failure is GeneralError, as on a
phone. The host has to find out why.

Other products' ways are flags of `Capabilities`, each named where it acts.

Tizen's extensions (cmtp-responder, _hutil_update_object_property and
_util_get_file_extn): what follows the last dot of the whole *path*, compared
without regard to case, files and folders alike; nothing where there is no dot.
Hence: `.hidden` has the extension `hidden`, and `a` can't become `.a`; `a` and
`a.` both have none; a name without a dot, in a folder whose name has one, has
the rest of the path for its extension (`d.x/a`: `x/a`) and can't be renamed at
all. A rename that changes the case only answers OK and does nothing.

uMTP-Responder's names (mtp_sanitize.c): `_` for what Windows forbids, for `;` and for control
characters; no spaces in front, neither spaces nor dots at the end. Outside the BMP it
spells them wrongly, which is `__` here.

Invariant: at most one upload is announced; any command but SendObject forgets
it and leaves its name reserved (a phantom: listed, no file, undeletable).

Source: AOSP, MtpServer and MtpStorageManager.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from mtpfs.errors import RemoteProtocolError
from mtpfs.protocol.codes import ROOT_PARENT, DataType, Event, Format, Operation, Property, Response
from mtpfs.protocol.datasets import SIZE_UNKNOWN, ObjectInfo
from mtpfs.protocol.dates import decode_date
from mtpfs.protocol.wire import decode_value
from mtpfs.virtual.capabilities import Capabilities
from mtpfs.virtual.phone import Handlers, Phone, Reply, Request, Upload
from mtpfs.virtual.space import Writer
from mtpfs.virtual.store import Node, Refusal, Storage


def _folder(phone: Phone, handle: int) -> Node:
    node = phone.store.node(handle)
    if not node.folder:
        raise Refusal(Response.InvalidParentObject)
    return node


def _destination(phone: Phone, storage: Storage, handle: int) -> Node:
    """Return the target of Move and Copy, for which 0 (and only 0) is the root."""
    return _folder(phone, handle) if handle else storage.root


def _require_free_name(phone: Phone, parent: Node, name: str) -> None:
    """Refuse a name that the table knows (AOSP, addObjectToCache and beginRenameObject: ghosts too)."""
    if phone.store.taken(parent, name):
        raise Refusal(Response.GeneralError)


def _filesystem_name(name: str) -> str:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate: AOSP's conversion makes it an empty name
        return ""
    return name


def stored_name(kind: Capabilities, name: str) -> str:
    """Return what a phone of that kind makes of a name: see the module's docstring."""
    if not kind.alters_names:
        return name
    name = re.sub("[\U00010000-\U0010ffff]", "__", re.sub(r'[\x00-\x1f\x7f\\:*?"<>|;]', "_", name))
    return name.lstrip(" ").rstrip(" .")


# --- SendObjectInfo and SendObject


def send_object_info(phone: Phone, request: Request, data: bytes) -> Reply:
    """Announce an object, or make a folder; answer with storage, parent and handle.

    The parent 0xFFFFFFFF is the root. Nothing of a file is on the disk before SendObject.
    """
    storage = phone.store.storage(request.p(1))
    phone.require_writable()
    parent = storage.root if request.p(2) == ROOT_PARENT else _folder(phone, request.p(2))
    try:
        info = ObjectInfo.decode(data)
    except RemoteProtocolError as error:
        raise Refusal(Response.InvalidParameter) from error
    if info.wide != phone.capabilities.wide_object_info:
        raise Refusal(Response.InvalidParameter)
    name = stored_name(phone.capabilities, _filesystem_name(info.filename))
    if storage.removable:
        name = name.strip()
    if name in {"", ".", ".."} or "/" in name:
        raise Refusal(Response.InvalidParameter)
    is_folder = info.object_format == Format.Association
    if phone.capabilities.formats and info.object_format not in phone.capabilities.formats:
        raise Refusal(Response.InvalidObjectFormatCode)  # players, by libmtp's and Garmin's logs
    _require_space(phone, storage, info.object_compressed_size)
    _require_free_name(phone, parent, name)
    node = phone.store.adopt(parent, name, folder=is_folder)
    node.phantom = True
    if is_folder:
        # A failure leaves the phantom behind: AOSP's order
        with phone.store.changing(parent):
            Path(phone.store.path_of(node)).mkdir()
        node.phantom = False
        node.unwatched = not phone.capabilities.watches_own_folders  # cmtp-responder, g_last_created_dir
        phone.store.watch(node)
    modified = _upload_time(info.modification_date)
    is_utc = info.modification_date.endswith("Z")
    if phone.capabilities.arrival_dates or (phone.capabilities.ignores_utc_dates and is_utc):
        modified = None
    if phone.capabilities.reserves_size and not is_folder and info.object_compressed_size != SIZE_UNKNOWN:
        _reserve(phone, node, info.object_compressed_size, modified)
    phone.upload = Upload(node, info.object_compressed_size, modified)
    return Reply(parameters=(storage.id, parent.handle, node.handle))


def _reserve(phone: Phone, node: Node, size: int, modified: float | None) -> None:
    path = phone.store.path_of(node)
    assert node.parent is not None
    with phone.store.changing(node.parent):
        Path(path).touch(0o666)
    os.truncate(path, size)
    if modified is not None:
        os.utime(path, (modified, modified))
    node.phantom = False
    phone.store.recount(node.storage)


def _require_space(phone: Phone, storage: Storage, size: int) -> None:
    if phone.capabilities.checks_space and size > phone.store.free(storage)[1]:
        raise Refusal(Response.StoreFull)
    largest = phone.largest_file(storage)
    if largest is not None and (size > largest or size == SIZE_UNKNOWN):
        raise Refusal(Response.ObjectTooLarge)  # AOSP, doSendObjectInfo: unknown is 4 GiB or more


def _upload_time(text: str) -> float | None:
    # AOSP knows `Z` and nothing else: the digits before a numeric offset are taken for local time
    return decode_date(text[:15] + ("Z" if text.endswith("Z") else ""))


class SendObject:
    """The data phase of SendObject: straight into the file."""

    def __init__(self, phone: Phone, _: Request) -> None:
        phone.require_storage(Response.GeneralError)
        upload, phone.upload = phone.upload, None
        if upload is None:
            raise Refusal(Response.NoValidObjectInfo)
        self._phone = phone
        self._node = upload.node
        self._upload = upload
        self._writer: Writer | None = None
        """None: a folder, whose data phase is taken and means nothing."""
        self._path = phone.store.path_of(self._node)
        if self._node.folder:
            return
        assert self._node.parent is not None
        try:
            with phone.store.changing(self._node.parent):
                descriptor = os.open(
                    self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
                )
        except OSError:
            phone.store.forget(self._node)
            raise
        if phone.capabilities.reserves_size:
            phone.store.recount(self._node.storage)  # what was reserved is free for it
        self._writer = Writer(phone, self._node.storage, descriptor, 0)

    def write(self, data: memoryview) -> None:
        """Write to the file what fits. Raises `CutShort` where the phone stops the host."""
        if self._writer is not None:
            self._writer.write(data)

    def finish(self, length: int | None) -> Reply:
        """Set the date, close, and tell of it; remove the file if its size isn't the announced one."""
        writer = self._writer
        if writer is None:
            return Reply()
        complete = self._upload.size in {SIZE_UNKNOWN, writer.received}
        if writer.failed or not complete or (length is not None and length != writer.received):
            self.abort()
            return Reply(Response.GeneralError)
        if self._upload.modified is not None:
            moment = self._upload.modified
            if self._phone.capabilities.even_seconds:
                moment = math.floor(moment / 2) * 2  # FAT's directory entries count in twos
            os.utime(writer.descriptor, (moment, moment))
        os.close(writer.descriptor)
        self._node.phantom = False
        self._node.first_size = None
        announce_content(self._phone, self._node)
        return Reply()

    def abort(self) -> None:
        """Remove the file and the object: a broken upload leaves nothing behind."""
        if self._writer is None:
            return
        assert self._node.parent is not None
        os.close(self._writer.descriptor)
        with self._phone.store.changing(self._node.parent), suppress(OSError):  # it is gone already
            Path(self._path).unlink()
        self._phone.store.recount(self._node.storage)
        self._phone.store.forget(self._node)


def announce_content(phone: Phone, node: Node) -> None:
    """Echo a write: Android reports the close of every file that isn't empty, its own uploads included."""
    phone.store.note_content(node)
    if phone.capabilities.echoes_writes and phone.store.status(node)[0]:
        phone.notify(Event.ObjectInfoChanged, node.handle)


# --- the rest


def delete_object(phone: Phone, request: Request) -> Reply:
    """Delete an object, a folder with everything in it. If something stays, the answer is PartialDeletion."""
    phone.require_storage()
    node = phone.store.node(request.p(1))
    phone.require_deletable()
    assert node.parent is not None
    if phone.capabilities.pretends_to_delete and is_protected(phone, node):
        return Reply()  # seen on cameras: ProtectionStatus told
    path = phone.store.path_of(node)
    try:
        with phone.store.changing(node.parent):
            if node.folder:
                shutil.rmtree(path)
            else:
                Path(path).unlink()
    except OSError:
        return Reply(Response.PartialDeletion)
    phone.store.bury(node)
    return Reply()


def is_protected(phone: Phone, node: Node) -> bool:
    """Tell whether the owner of the phone may not write to this file."""
    try:
        mode = os.lstat(phone.store.path(node)).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and not mode & stat.S_IWUSR


def move_object(phone: Phone, request: Request) -> Reply:
    """Move an object under its own name; it keeps its handle. The parent 0 is the root."""
    phone.require_storage(Response.GeneralError)
    storage = phone.store.storage(request.p(2))
    node = phone.store.node(request.p(1))
    parent = _destination(phone, storage, request.p(3))
    phone.require_writable()
    _require_free_name(phone, parent, node.name)
    source, target = phone.store.path_of(node), phone.store.checked_path(parent, node.name)
    assert node.parent is not None
    with phone.store.changing(node.parent), phone.store.changing(parent):
        if node.storage is storage:
            Path(source).rename(target)
        else:
            _copy(source, target, folder=node.folder)
            if node.folder:
                shutil.rmtree(source)
            else:
                Path(source).unlink()
            phone.store.recount(node.storage)
            phone.store.recount(storage)
    phone.store.relocate(node, parent, node.name)
    return Reply()


def copy_object(phone: Phone, request: Request) -> Reply:
    """Copy an object under its own name; answer with the copy's handle. The parent 0 is the root."""
    phone.require_storage(Response.GeneralError)
    storage = phone.store.storage(request.p(2))
    node = phone.store.node(request.p(1))
    parent = _destination(phone, storage, request.p(3))
    phone.require_writable()
    if phone.store.status(node)[0] > phone.store.free(storage)[1]:
        raise Refusal(Response.StoreFull)
    short = phone.capabilities.short_copy_handles
    taken = phone.store.taken(parent, node.name)
    if not short:
        _require_free_name(phone, parent, node.name)
    source, target = phone.store.path_of(node), phone.store.checked_path(parent, node.name)
    if taken and os.path.lexists(target):
        # AOSP would write over it: nothing that a host should find useful
        raise Refusal(Response.GeneralError)
    if taken:
        _copy(source, target, folder=node.folder)
        phone.store.recount(storage)
        return Reply(parameters=(0xFFFF,))  # the store finds the copy by itself
    with phone.store.changing(parent):
        _copy(source, target, folder=node.folder)
    phone.store.recount(storage)
    copy = phone.store.adopt(parent, node.name, folder=node.folder)
    if not copy.folder:
        announce_content(phone, copy)
    return Reply(parameters=(copy.handle & 0xFFFF if short else copy.handle,))


def _copy(source: str, target: str, *, folder: bool) -> None:
    if not folder:
        shutil.copyfile(source, target, follow_symlinks=False)
        return
    if f"{target}/".startswith(f"{source}/"):
        raise Refusal(Response.GeneralError)
    shutil.copytree(source, target, symlinks=True, copy_function=shutil.copyfile)


def set_object_prop_value(phone: Phone, request: Request, data: bytes) -> Reply:
    """Rename an object in its folder: the file name is the only property that can be written."""
    phone.require_storage()
    if request.p(2) != Property.ObjectFileName:
        raise Refusal(Response.ObjectPropNotSupported)
    node = phone.store.node(request.p(1))
    phone.require_writable()
    try:
        name = stored_name(phone.capabilities, _filesystem_name(str(decode_value(DataType.STR, data))))
    except RemoteProtocolError as error:
        raise Refusal(Response.GeneralError) from error
    assert node.parent is not None
    if name in {"", ".", ".."} or "/" in name:
        # Android doesn't check and would move the file; an initiator must never find that useful
        raise Refusal(Response.GeneralError)
    kind = phone.capabilities
    if kind.forbidden_in_renames:
        # buteo-mtp, isFileNameValid: characters, names of nothing but dots, names that are taken
        bad = any(character in kind.forbidden_in_renames for character in name) or not name.strip(".")
        if bad or phone.store.taken(node.parent, name):
            raise Refusal(Response.InvalidObjectPropValue)
    if kind.fixed_extension:
        folder = _path_on_phone(node.parent)
        old, new = f"{folder}/{node.name}", f"{folder}/{name}"
        if old.lower() == new.lower():
            return Reply()
        if _extension(old) != _extension(new):
            raise Refusal(Response.InvalidDevicePropValue)
    _require_free_name(phone, node.parent, name)
    source, target = phone.store.path_of(node), phone.store.checked_path(node.parent, name)
    if target == source:  # only the case changes, on a storage that ignores it
        target = f"{Path(source).parent}/{name}"
    if kind.notices_late and os.path.lexists(target):
        return (
            Reply()
        )  # buteo-mtp: a file that the table has lost is in the way; the answer is OK all the same
    with phone.store.changing(node.parent):
        Path(source).rename(target)
    phone.store.relocate(node, node.parent, name)
    phone.store.renamed(node)
    return Reply()


def _path_on_phone(node: Node) -> str:
    """Return where a node is, as the phone sees it: its own directory may have a dot in its name."""
    return "/storage" if node.parent is None else f"{_path_on_phone(node.parent)}/{node.name}"


def _extension(path: str) -> str:
    """Return what Tizen takes for an extension: see the module's docstring."""
    return path.rpartition(".")[2].lower() if "." in path else ""


HANDLERS = Handlers(
    queries={
        Operation.DeleteObject: (1, delete_object),
        Operation.MoveObject: (3, move_object),
        Operation.CopyObject: (3, copy_object),
    },
    datasets={
        Operation.SendObjectInfo: (2, send_object_info),
        Operation.SetObjectPropValue: (2, set_object_prop_value),
    },
    streams={Operation.SendObject: (0, SendObject)},
)
