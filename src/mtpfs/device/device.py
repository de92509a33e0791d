"""The device as the filesystem sees it: capabilities, quirks, storages, and what was learned of them.

What a device says (OK, sizes, dates, names, what it can do) is a hint until something confirms it. Each kind of
doubt has one place: `operations` for what it can do, `room` for what fits, `recent` for what it hasn't noticed yet.
The rest are fields here. They are learned from what happens anyway, as far as possible, and shown by `describe`.

Invariant: everything learned belongs to this device and lasts until it is closed. All of it is used by tasks of one
trio thread, and no field is changed across a wait.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from datetime import UTC, tzinfo

import trio

from mtpfs.device.objects import Storage
from mtpfs.device.operations import Operations
from mtpfs.device.quirks import find_quirks
from mtpfs.device.recent import Recent
from mtpfs.device.room import Room
from mtpfs.errors import FsError, ProtocolError, ResponseError, name_of
from mtpfs.protocol.codes import AccessCapability, Operation, Response, StorageType
from mtpfs.protocol.datasets import DeviceInfo, StorageInfo
from mtpfs.protocol.dates import encode_date, encode_local_date
from mtpfs.protocol.wire import decode_integers
from mtpfs.redaction import hide_name, hide_serial
from mtpfs.session import DataSource, Handle, Rank, Result, Session
from mtpfs.session.engine import DEFAULT_LIMIT

log = logging.getLogger(__name__)

EDIT_OPERATIONS = (
    Operation.SendPartialObject,
    Operation.TruncateObject,
    Operation.BeginEditObject,
    Operation.EndEditObject,
)
STORAGE_AWAY = {Response.InvalidObjectHandle, Response.InvalidStorageID, Response.StoreNotAvailable}
"""What devices answer when an object's storage is locked or ejected, among other occasions."""
UNKNOWN_HANDLE = {Response.InvalidObjectHandle, Response.InvalidParentObject}
"""What they answer to a handle, of an object or of a folder, that is another one by now."""
_INSIDE_AN_EDIT = {Operation.SendPartialObject, Operation.TruncateObject, Operation.EndEditObject}
"""To these the same answers may say that there is no edit. `BeginEditObject` then tells whether the handle is known."""
_UNTRUSTED = {Response.StoreNotAvailable, Response.InvalidStorageID, Response.AccessDenied}
"""What iPhones answer about the storage that they list before "Trust" was chosen."""
_PARTIAL = {Operation.GetPartialObject, Operation.GetPartialObject64}
_ALL_ONES = {0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}


class Device:
    """An open phone. Sends nothing by itself; `listing`, `reading` and `writing` work through it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        hide_serial(session.info.serial_number.strip())
        self.quirks = find_quirks(session.info)
        self.operations = Operations(lambda: self.info.operations_supported)
        self.room = Room(self.storage)
        self.recent = Recent()
        self.zone: tzinfo | None = UTC if self.quirks.utc_dates else None
        """The device's zone; None: this host's."""
        self.property_lists_fail = 0
        """Listings in which GetObjectPropList missed objects that GetObjectHandles named."""
        self.wide_object_info = False
        self.keeps_dates: bool | None = None
        """Whether an upload keeps the date it is given; None until the first one showed."""
        self.dates_writable: bool | None = None
        """Whether DateModified can be set afterwards; None until it was asked for."""
        self.dates_in_lists: bool | None = None
        """Whether property lists tell dates as well as ObjectInfo does; None until one looked impossible."""
        self.dates_compared = 0
        """Objects whose impossible date in a list was no better in ObjectInfo."""
        self.stale_sizes = False
        """ObjectInfo told an old size of a file that had the new one."""
        self.formats_refused: set[int] = set()
        """Object formats that DeviceInfo lists and that an upload can't have."""
        self.untrusted = False
        """The device lists a storage that it refuses to describe: it waits for "Trust", or for being unlocked."""
        self._tell_unknown: Callable[[Handle], None] = lambda _handle: None
        self.name_trial = trio.Lock()
        """Held while temporary objects find out what the device does with names; see `folding` and `spelling`."""
        self.spelling: dict[tuple[int, str], bool] = {}
        """By storage and kind of oddity, whether names are stored as they are; see `spelling`."""
        self.edit_slot = trio.Lock()
        """Held while an edit is begun: some devices have room for one, and end the other silently (Sailfish)."""
        self.undescribed: dict[tuple[int, Handle], int] = {}
        """By storage and folder, how many objects its last listing had to leave out."""
        self._folding: dict[int, bool] = {}
        self._skipped_storages: set[int] = set()
        if self.quirks.split_headers:
            session.split_headers()
        if self.quirks.misses_data:
            session.misses_data()

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
    def unseen(self) -> int:
        """How many objects the device lists and can't describe, as far as is known: no listing shows them."""
        current = self.session.generation
        return sum(count for (_, folder), count in self.undescribed.items() if folder.generation == current)

    @property
    def sends_events(self) -> bool:
        """Tell whether changes on the device are announced (QEMU sends events without listing any)."""
        return bool(self.info.events_supported)

    # --- what it can do ---------------------------------------------------------------

    def supports(self, *operations: int) -> bool:
        """Tell whether the device has all of `operations`; see `Operations`."""
        return self.operations.supports(*operations)

    @property
    def can_edit(self) -> bool:
        """Tell whether files can be changed in place. A single file may still be refused."""
        return self.supports(*EDIT_OPERATIONS)

    @property
    def can_rename(self) -> bool:
        """Tell whether objects can be renamed. A single object or name may still be refused."""
        return self.supports(Operation.SetObjectPropValue)

    def encoded_date(self, seconds: float) -> str:
        """Return a date (seconds since the epoch) as this device takes it."""
        return encode_local_date(seconds, self.zone) if self.quirks.local_dates else encode_date(seconds)

    async def call(
        self,
        operation: int,
        *parameters: int | Handle,
        data: bytes | DataSource | None = None,
        expected: int = 0,
        limit: int = DEFAULT_LIMIT,
        rank: Rank = Rank.METADATA,
    ) -> Result:
        """Run one operation; see `Session.transact`, also for cancellation.

        Raises `FsError(EOPNOTSUPP)` at once if the device lacks it, else what the session raises.
        """
        if not self.supports(operation):
            raise FsError(errno.EOPNOTSUPP, f"{self.name} has no {name_of(Operation, operation)}")
        try:
            result = await self.session.transact(
                operation, *parameters, data=data, expected=expected, limit=limit, rank=rank
            )
        except ResponseError as error:
            self.note_refusal(error, *parameters)
            raise
        if operation not in _PARTIAL or result.data:  # Tizen's OK with no data is no success
            self.operations.note_success(operation)
        return result

    def on_unknown_handle(self, tell: Callable[[Handle], None]) -> None:
        """Have `tell` called with each handle that the device says it doesn't know."""
        self._tell_unknown = tell

    def note_refusal(self, error: ResponseError, *parameters: int | Handle) -> None:
        """Learn from an answer: which handles it may have been about, or that an operation is missing."""
        handles = [value for value in parameters if isinstance(value, Handle)]
        if error.code == Response.OperationNotSupported:
            self.operations.note_refusal(error.operation, handles[0] if handles else None)
        elif error.code in UNKNOWN_HANDLE and error.operation not in _INSIDE_AN_EDIT:
            for handle in handles:
                self._tell_unknown(handle)

    # --- letter case --------------------------------------------------------------------

    def folds(self, storage_id: int) -> bool:
        """Tell whether names that differ only in case are one on this storage. Unknown counts as folding."""
        return self.folding(storage_id) is not False

    def folding(self, storage_id: int) -> bool | None:
        """Return what is known of `folds`; None: nothing."""
        return self._folding.get(storage_id, self.quirks.folds)

    def learned_folding(self, storage_id: int, folds: bool) -> None:
        """Note what a listing or a trial showed: whether two names that differ only in case are one."""
        if self._folding.get(storage_id) is not folds:
            log.info("storage 0x%08X %s letter case", storage_id, "folds" if folds else "tells apart")
        self._folding[storage_id] = folds

    @property
    def folding_learned(self) -> dict[int, bool]:
        """What was learned of each storage, beyond what kind of device it is."""
        return dict(self._folding)

    # --- storages -----------------------------------------------------------------------

    async def storages(self) -> list[Storage]:
        """Return the storages that are present and can be described: none while the phone is locked.

        Sets `untrusted`. Raises what GetStorageIDs raises, and `ProtocolError` if what the device
        says of its storages makes no sense for any of them; a refusal to describe one leaves it out.
        """
        result = await self.call(Operation.GetStorageIDs, limit=4096)
        found: list[Storage] = []
        garbled: ProtocolError | None = None
        untrusted = False
        for storage_id in decode_integers(result.data):
            if not storage_id & 0xFFFF:
                continue  # a slot without a medium
            try:
                found.append(await self.storage(storage_id))
            except (ResponseError, ProtocolError) as error:
                if storage_id not in self._skipped_storages:
                    log.warning("storage 0x%08X isn't shown: %s", storage_id, error)
                self._skipped_storages.add(storage_id)
                if isinstance(error, ProtocolError):
                    garbled = error
                else:
                    untrusted |= error.code in _UNTRUSTED
            else:
                self._skipped_storages.discard(storage_id)
        self.untrusted = untrusted
        if garbled is not None and not found:
            raise garbled
        return found

    async def storage(self, storage_id: int) -> Storage:
        """Describe one storage: room in bytes, as the device tells it.

        Raises `ResponseError`, `ProtocolError`, `TransportError`.
        """
        # Not by `call`: a refusal is about this storage, not about the operation.
        result = await self.session.transact(Operation.GetStorageInfo, storage_id)
        info = StorageInfo.decode(result.data)
        hide_name(info.storage_description)
        hide_name(info.volume_identifier)
        free, told = info.free_space_in_bytes, info.max_capacity
        access = info.access_capability
        return Storage(
            id=storage_id,
            description=info.storage_description,
            volume=info.volume_identifier,
            removable=info.storage_type in {StorageType.REMOVABLE_RAM, StorageType.REMOVABLE_ROM},
            writable=access == AccessCapability.READ_WRITE,
            deletable=access != AccessCapability.READ_ONLY_WITHOUT_DELETE,
            capacity=max(told, free),  # some report more free than they have
            free=free,
            free_known=0 < free <= told and free not in _ALL_ONES,
        )
