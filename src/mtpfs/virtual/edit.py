"""Android's extension for editing a file in place: 95C2 to 95C5.

Strategy: an edit is an open file descriptor by handle, as in AOSP; several
objects can be edited at once, each only once. Edits survive CloseSession.

Invariant: nothing is written beyond an edit's size, so no write leaves a hole;
TruncateObject is the only way to grow a file without data.

Source: AOSP, MtpServer; kernel and FunctionFS buffers of 16 KiB.
"""

from __future__ import annotations

import os

from mtpfs.protocol.codes import Operation, Response
from mtpfs.virtual.changes import announce_content, require_capacity, write_all
from mtpfs.virtual.phone import Edit, Handlers, Phone, Reply, Request
from mtpfs.virtual.store import Refusal

FIRST_READ = 16384 - 12
"""Payload bytes that AOSP receives together with the header, and then forgets to count."""


def begin_edit_object(phone: Phone, request: Request) -> Reply:
    handle = request.p(1)
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
        raise Refusal(Response.GeneralError)
    return edit


def truncate_object(phone: Phone, request: Request) -> Reply:
    edit = _edit(phone, request.p(1))
    size = request.p(2) | request.p(3) << 32
    os.ftruncate(edit.descriptor, size)
    edit.size = size
    return Reply()


def end_edit_object(phone: Phone, request: Request) -> Reply:
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
        self._received = 0
        self._failed = False

    def write(self, data: memoryview) -> None:
        accepted = data[: max(0, self._length - self._received)]
        if not self._failed:
            try:
                write_all(self._edit.descriptor, accepted, self._start + self._received)
                if self._phone.capabilities.capacity is not None and len(accepted):
                    require_capacity(self._phone, self._edit.node.storage)
            except OSError:
                self._failed = True
        self._received += len(data)

    def finish(self, length: int | None) -> Reply:
        del length  # AOSP goes by the command's parameter
        if self._failed or self._received != self._length:
            self.abort()
            return Reply(Response.GeneralError, (0,))
        self._edit.size = max(self._edit.size, self._start + self._length)
        return Reply(parameters=(self._length - min(self._length, FIRST_READ),))

    def abort(self) -> None:
        """Keep what was written, as AOSP does; only the size has to be true again."""
        self._edit.size = os.fstat(self._edit.descriptor).st_size


HANDLERS = Handlers(
    queries={
        Operation.BeginEditObject: (1, begin_edit_object),
        Operation.TruncateObject: (3, truncate_object),
        Operation.EndEditObject: (1, end_edit_object),
    },
    streams={Operation.SendPartialObject: (4, SendPartialObject)},
)
