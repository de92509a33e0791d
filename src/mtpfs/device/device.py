"""The device as the filesystem sees it: capabilities, quirks and storages.

Strategy: a capability is an operation that the device advertises and that
hasn't yet answered OperationNotSupported; it is dropped at the first such
answer and stays dropped for the session (Sony Xperias advertise edit
operations that they don't have).

Invariant: `supports` never turns from False to True while the device is open.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo

from mtpfs.device.quirks import find_quirks
from mtpfs.errors import FsError, MtpfsError, ProtocolError, ResponseError, name_of
from mtpfs.protocol.codes import AccessCapability, Format, Operation, Response, StorageType
from mtpfs.protocol.datasets import DeviceInfo, StorageInfo
from mtpfs.protocol.wire import decode_integers
from mtpfs.session import DataSource, Handle, Result, Session
from mtpfs.session.engine import DEFAULT_LIMIT

log = logging.getLogger(__name__)

EDIT_OPERATIONS = (
    Operation.SendPartialObject,
    Operation.TruncateObject,
    Operation.BeginEditObject,
    Operation.EndEditObject,
)
WITHDRAWN = {Response.InvalidObjectHandle, Response.InvalidStorageID, Response.StoreNotAvailable}
"""What devices answer when an object's storage is locked or ejected, among other occasions."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage that is present. `capacity` and `free` in bytes."""

    id: int
    description: str
    volume: str
    removable: bool
    writable: bool
    deletable: bool
    capacity: int
    free: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing. `size` in bytes, `modified` in seconds since the epoch or None if unknown."""

    handle: Handle
    name: str
    is_folder: bool
    size: int
    modified: float | None


class Device:
    """An open phone. Sends nothing by itself; `listing`, `reading` and `writing` work through it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.quirks = find_quirks(session.info)
        self.zone: tzinfo | None = UTC if self.quirks.utc_dates else None
        self.property_lists_fail = 0
        """Listings in which GetObjectPropList missed objects that GetObjectHandles named."""
        self.wide_object_info = False
        self.keeps_dates: bool | None = None
        """Whether an upload keeps the date it is given; None until the first one showed."""
        self.dates_writable: bool | None = None
        """Whether DateModified can be set afterwards; None until somebody asks."""
        self.handle_unknown: Callable[[Handle], None] = lambda _handle: None
        """Called with each handle that the device said it doesn't know."""
        self._refused: set[int] = set()
        if self.quirks.split_headers:
            session.split_headers()

    @property
    def info(self) -> DeviceInfo:
        """What the device said last: it may come back in another mode."""
        return self.session.info

    @property
    def name(self) -> str:
        """`Google Pixel 7`, for messages and `fsname`."""
        maker, model = self.info.manufacturer.strip(), self.info.model.strip()
        full = model if model.casefold().startswith(maker.casefold()) else f"{maker} {model}"
        return full.strip() or "MTP device"

    @property
    def sends_events(self) -> bool:
        """Tell whether changes on the device are announced (QEMU sends events without listing any)."""
        return bool(self.info.events_supported)

    def supports(self, *operations: int) -> bool:
        offered = self.info.operations_supported
        return all(code in offered and code not in self._refused for code in operations)

    @property
    def can_edit(self) -> bool:
        return self.supports(*EDIT_OPERATIONS)

    @property
    def can_rename(self) -> bool:
        return self.supports(Operation.SetObjectPropValue)

    def refuse(self, *operations: int) -> None:
        """Don't use `operations` any more: the device advertises but doesn't have them."""
        for code in operations:
            if code not in self._refused:
                log.info("%s has no working %s; falling back", self.name, name_of(Operation, code))
        self._refused.update(operations)

    async def call(
        self,
        operation: int,
        *parameters: int | Handle,
        data: bytes | DataSource | None = None,
        expected: int = 0,
        limit: int = DEFAULT_LIMIT,
        bulk: bool = False,
    ) -> Result:
        """Run one operation; see `Session.transact`. EOPNOTSUPP at once if the device lacks it."""
        if not self.supports(operation):
            raise FsError(errno.EOPNOTSUPP, f"{self.name} has no {name_of(Operation, operation)}")
        try:
            return await self.session.transact(
                operation, *parameters, data=data, expected=expected, limit=limit, bulk=bulk
            )
        except ResponseError as error:
            if error.code == Response.OperationNotSupported:
                self.refuse(operation)
            self.note_unknown(error, *parameters)
            raise

    def note_unknown(self, error: ResponseError, *parameters: int | Handle) -> None:
        """Pass on which handles an answer may have been about."""
        if error.code in {Response.InvalidObjectHandle, Response.InvalidParentObject}:
            for handle in parameters:
                if isinstance(handle, Handle):
                    self.handle_unknown(handle)

    async def storages(self) -> list[Storage]:
        """Return the storages that are present: none while the phone is locked."""
        result = await self.call(Operation.GetStorageIDs, limit=4096)
        found: list[Storage] = []
        failure: MtpfsError | None = None
        for storage_id in decode_integers(result.data):
            if not storage_id & 0xFFFF:
                continue  # a slot without a medium
            try:
                found.append(await self.storage(storage_id))
            except (ResponseError, ProtocolError) as error:
                log.warning("storage 0x%08X is skipped: %s", storage_id, error)
                failure = error
        if failure is not None and not found:
            raise failure
        return found

    async def storage(self, storage_id: int) -> Storage:
        result = await self.call(Operation.GetStorageInfo, storage_id)
        info = StorageInfo.decode(result.data)
        capacity = max(info.max_capacity, info.free_space_in_bytes)  # some report more free than they have
        access = info.access_capability
        return Storage(
            id=storage_id,
            description=info.storage_description,
            volume=info.volume_identifier,
            removable=info.storage_type in {StorageType.REMOVABLE_RAM, StorageType.REMOVABLE_ROM},
            writable=access == AccessCapability.READ_WRITE,
            deletable=access != AccessCapability.READ_ONLY_WITHOUT_DELETE,
            capacity=capacity,
            free=info.free_space_in_bytes,
        )


def is_folder(object_format: int) -> bool:
    """Only the format tells: Android reports AssociationType 0 for folders, HTC a size."""
    return object_format == Format.Association
