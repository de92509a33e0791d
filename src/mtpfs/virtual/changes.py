"""The operations that change what is there: upload, delete, move, copy, rename.

Strategy: AOSP's order of events: look whether the table allows it, do it to
the files, correct the table. Nearly every failure is GeneralError, as on a
phone; the initiator has to find out why.

Invariant: at most one upload is announced; any command but SendObject forgets
it and leaves its name reserved (a phantom: listed, no file, undeletable).

Source: AOSP, MtpServer and MtpStorageManager.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from mtpfs.errors import RemoteProtocolError
from mtpfs.protocol.codes import ROOT_PARENT, DataType, Event, Format, Operation, Property, Response
from mtpfs.protocol.datasets import SIZE_UNKNOWN, ObjectInfo
from mtpfs.protocol.dates import decode_date
from mtpfs.protocol.wire import decode_value
from mtpfs.virtual.phone import Handlers, Phone, Reply, Request, Upload
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
    """Refuse a name that the table knows. The check is case-sensitive even where the storage isn't."""
    if any(node.name == name for node in phone.store.children(parent)):
        raise Refusal(Response.GeneralError)


def _filesystem_name(name: str) -> str:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate: AOSP's conversion makes it an empty name
        return ""
    return name


# --- SendObjectInfo and SendObject


def send_object_info(phone: Phone, request: Request, data: bytes) -> Reply:
    storage = phone.store.storage(request.p(1))
    phone.require_writable()
    parent = storage.root if request.p(2) == ROOT_PARENT else _folder(phone, request.p(2))
    try:
        info = ObjectInfo.decode(data)
    except RemoteProtocolError as error:
        raise Refusal(Response.InvalidParameter) from error
    if info.wide != phone.capabilities.wide_object_info:
        raise Refusal(Response.InvalidParameter)
    name = _filesystem_name(info.filename)
    if storage.removable:
        name = name.strip()
    if name in {"", ".", ".."} or "/" in name:
        raise Refusal(Response.InvalidParameter)
    if info.object_compressed_size > phone.store.free(storage)[1]:
        raise Refusal(Response.StoreFull)
    _require_free_name(phone, parent, name)
    is_folder = info.object_format == Format.Association
    node = phone.store.adopt(parent, name, folder=is_folder)
    node.phantom = True
    if is_folder:
        # A failure leaves the phantom behind: AOSP's order
        Path(phone.store.path_of(node)).mkdir()
        node.phantom = False
        phone.store.watch(node)
    phone.upload = Upload(node, info.object_compressed_size, _upload_time(info.modification_date))
    return Reply(parameters=(storage.id, parent.handle, node.handle))


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
        self._received = 0
        self._failed = False
        self._descriptor = -1
        self._path = phone.store.path_of(self._node)
        if self._node.folder:
            return
        try:
            self._descriptor = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
            )
        except OSError:
            phone.store.forget(self._node)
            raise

    def write(self, data: memoryview) -> None:
        if not self._node.folder and not self._failed:
            try:
                write_all(self._descriptor, data, self._received)
                self._require_capacity(len(data))
            except OSError:
                self._failed = True  # the disk is full; the rest of the data has to be taken nevertheless
        self._received += len(data)

    def _require_capacity(self, size: int) -> None:
        if self._phone.capabilities.capacity is not None and size:
            require_capacity(self._phone, self._node.storage)

    def finish(self, length: int | None) -> Reply:
        if self._node.folder:
            return Reply()
        expected = self._upload.size
        complete = expected in {SIZE_UNKNOWN, self._received}
        if self._failed or not complete or (length is not None and length != self._received):
            self.abort()
            return Reply(Response.GeneralError)
        if self._upload.modified is not None:
            os.utime(self._descriptor, (self._upload.modified, self._upload.modified))
        os.close(self._descriptor)
        self._node.phantom = False
        announce_content(self._phone, self._node)
        return Reply()

    def abort(self) -> None:
        if self._node.folder:
            return
        os.close(self._descriptor)
        with suppress(OSError):  # somebody was faster
            Path(self._path).unlink()
        self._phone.store.forget(self._node)


def write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while len(data):
        count = os.pwrite(descriptor, data, offset)
        data, offset = data[count:], offset + count


def require_capacity(phone: Phone, storage: Storage) -> None:
    if phone.store.free(storage)[1] <= 0:
        raise OSError


def announce_content(phone: Phone, node: Node) -> None:
    """Echo a write: Android reports the close of every file that isn't empty, its own uploads included."""
    phone.store.note_content(node)
    if phone.store.status(node)[0]:
        phone.notify(Event.ObjectInfoChanged, node.handle)


# --- the rest


def delete_object(phone: Phone, request: Request) -> Reply:
    phone.require_storage()
    node = phone.store.node(request.p(1))
    phone.require_writable()
    path = phone.store.path_of(node)
    try:
        if node.folder:
            shutil.rmtree(path)
        else:
            Path(path).unlink()
    except OSError:
        return Reply(Response.PartialDeletion)
    phone.store.forget(node)
    return Reply()


def move_object(phone: Phone, request: Request) -> Reply:
    phone.require_storage(Response.GeneralError)
    storage = phone.store.storage(request.p(2))
    node = phone.store.node(request.p(1))
    parent = _destination(phone, storage, request.p(3))
    phone.require_writable()
    _require_free_name(phone, parent, node.name)
    source, target = phone.store.path_of(node), phone.store.checked_path(parent, node.name)
    if node.storage is storage:
        Path(source).rename(target)
    else:
        _copy(source, target, folder=node.folder)
        if node.folder:
            shutil.rmtree(source)
        else:
            Path(source).unlink()
    phone.store.relocate(node, parent, node.name)
    return Reply()


def copy_object(phone: Phone, request: Request) -> Reply:
    phone.require_storage(Response.GeneralError)
    storage = phone.store.storage(request.p(2))
    node = phone.store.node(request.p(1))
    parent = _destination(phone, storage, request.p(3))
    phone.require_writable()
    if phone.store.status(node)[0] > phone.store.free(storage)[1]:
        raise Refusal(Response.StoreFull)
    _require_free_name(phone, parent, node.name)
    source, target = phone.store.path_of(node), phone.store.checked_path(parent, node.name)
    _copy(source, target, folder=node.folder)
    copy = phone.store.adopt(parent, node.name, folder=node.folder)
    if not copy.folder:
        announce_content(phone, copy)
    return Reply(parameters=(copy.handle,))


def _copy(source: str, target: str, *, folder: bool) -> None:
    if not folder:
        shutil.copyfile(source, target, follow_symlinks=False)
        return
    if f"{target}/".startswith(f"{source}/"):
        raise Refusal(Response.GeneralError)
    shutil.copytree(source, target, symlinks=True, copy_function=shutil.copyfile)


def set_object_prop_value(phone: Phone, request: Request, data: bytes) -> Reply:
    phone.require_storage()
    if request.p(2) != Property.ObjectFileName:
        raise Refusal(Response.ObjectPropNotSupported)
    node = phone.store.node(request.p(1))
    phone.require_writable()
    try:
        name = _filesystem_name(str(decode_value(DataType.STR, data)))
    except RemoteProtocolError as error:
        raise Refusal(Response.GeneralError) from error
    assert node.parent is not None
    if name in {"", ".", ".."} or "/" in name:
        # Android doesn't check and would move the file; an initiator must never find that useful
        raise Refusal(Response.GeneralError)
    _require_free_name(phone, node.parent, name)
    source, target = phone.store.path_of(node), phone.store.checked_path(node.parent, name)
    if target == source:  # only the case changes, on a storage that ignores it
        target = f"{Path(source).parent}/{name}"
    Path(source).rename(target)
    phone.store.relocate(node, node.parent, name)
    return Reply()


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
