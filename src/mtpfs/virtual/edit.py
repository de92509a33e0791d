"""Android's extension for editing a file in place: 95C2 to 95C5.

An edit is an open file descriptor, kept by the object's handle, as in AOSP. Several
objects can be edited at the same time, each by one edit. Edits survive CloseSession.

Others have one edit only (`one_edit`), or none that works (`hollow_edits`).

Invariant: no write begins beyond an edit's size, so none leaves a hole.
TruncateObject is the only way to grow a file without data.

Source: AOSP, MtpServer; kernel and FunctionFS buffers of 16 KiB.
"""

from __future__ import annotations

import os

from mtpfs.protocol.codes import Operation, Response
from mtpfs.virtual.changes import announce_content
from mtpfs.virtual.phone import Edit, Handlers, Phone, Reply, Request, Sink
from mtpfs.virtual.space import FIRST_READ, Writer
from mtpfs.virtual.store import Refusal


def begin_edit_object(phone: Phone, request: Request) -> Reply:
    """Open an object's file. A second edit of one object is refused, as by AOSP."""
    handle = request.p(1)
    if phone.capabilities.hollow_edits:
        return Reply()  # cmtp-responder, __begin_end_edit_object
    if phone.capabilities.one_edit:
        phone.end_edits()  # buteo-mtp, beginEditObjectReq: "any ongoing session is abandoned"
    if handle in phone.edits:
        raise Refusal(Response.GeneralError)
    node = phone.store.node(handle)
    phone.require_writable()
    descriptor = os.open(phone.store.path_of(node), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    phone.edits[handle] = Edit(node, descriptor, os.fstat(descriptor).st_size)
    return Reply()


def _edit(phone: Phone, handle: int) -> Edit:
    edit = phone.edits.get(handle)
    if edit is None:
        other = phone.capabilities.one_edit and phone.edits  # buteo-mtp: another object's edit is open
        raise Refusal(Response.InvalidObjectHandle if other else Response.GeneralError)
    return edit


def truncate_object(phone: Phone, request: Request) -> Reply:
    """Set the size of a file that is being edited, in bytes; growth reads as zeros."""
    edit = _edit(phone, request.p(1))
    size = request.p(2) | request.p(3) << 32
    os.ftruncate(edit.descriptor, size)
    phone.store.recount(edit.node.storage)
    edit.size = size
    return Reply()


def end_edit_object(phone: Phone, request: Request) -> Reply:
    """Close an object's file, and tell of the change."""
    if phone.capabilities.hollow_edits:
        return Reply()
    edit = _edit(phone, request.p(1))
    del phone.edits[request.p(1)]
    os.close(edit.descriptor)
    announce_content(phone, edit.node)
    return Reply()


class SendPartialObject:
    """The data phase of SendPartialObject: straight into the open file."""

    def __init__(self, phone: Phone, request: Request) -> None:
        phone.require_storage()
        self._edit = _edit(phone, request.p(1))
        self._phone = phone
        self._start = request.p(2) | request.p(3) << 32
        if self._start > self._edit.size:
            raise Refusal(Response.GeneralError)
        self._length = request.p(4)
        self._writer = Writer(phone, self._edit.node.storage, self._edit.descriptor, self._start)
        status = os.fstat(self._edit.descriptor)
        self._times = (status.st_atime_ns, status.st_mtime_ns)

    def write(self, data: memoryview) -> None:
        """Write as many bytes as the command has announced, and throw away the rest."""
        accepted = data[: max(0, self._length - self._writer.received)]
        if len(accepted):
            self._writer.write(accepted)
        self._writer.skip(len(data) - len(accepted))

    def finish(self, length: int | None) -> Reply:
        """Answer with the count of bytes, less those that came with the header, as AOSP does."""
        del length  # AOSP goes by the command's parameter
        if self._writer.failed or self._writer.received != self._length:
            self.abort()
            return Reply(Response.GeneralError, (0,))
        self._edit.size = max(self._edit.size, self._start + self._length)
        if self._phone.capabilities.keeps_date_in_edits:
            os.utime(self._edit.descriptor, ns=self._times)  # buteo-mtp, writePartialData
        return Reply(parameters=(self._length - min(self._length, FIRST_READ),))

    def abort(self) -> None:
        """Keep what was written, as AOSP does; only the size has to be true again."""
        self._edit.size = os.fstat(self._edit.descriptor).st_size


class _Nowhere:
    """The data phase of a SendPartialObject that changes nothing (cmtp-responder, __send_partial_object)."""

    def write(self, data: memoryview) -> None:
        """Throw it away."""

    def finish(self, length: int | None) -> Reply:
        del length
        return Reply()

    def abort(self) -> None:
        """Have nothing to undo."""


def send_partial_object(phone: Phone, request: Request) -> Sink:
    """Begin to take bytes for an edit, at an offset that isn't beyond the end."""
    return _Nowhere() if phone.capabilities.hollow_edits else SendPartialObject(phone, request)


HANDLERS = Handlers(
    queries={
        Operation.BeginEditObject: (1, begin_edit_object),
        Operation.TruncateObject: (3, truncate_object),
        Operation.EndEditObject: (1, end_edit_object),
    },
    streams={Operation.SendPartialObject: (4, send_partial_object)},
)
