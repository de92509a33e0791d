"""The operations that only look: device, storages, objects, properties, file contents.

There is one function for each operation, from request to reply. A `Refusal` that
it raises is an answer, too. The order of the checks is AOSP's. It decides which
of two possible response codes a host gets to see.

Invariant: nothing here changes a file or the object table, except that looking
at a directory brings the table up to date.

Source: AOSP, MtpServer and MtpDatabase.
"""

from __future__ import annotations

import os

from mtpfs.protocol.codes import (
    ALL,
    ROOT_PARENT,
    AccessCapability,
    DataType,
    DeviceProperty,
    Event,
    Operation,
    Property,
    Response,
    StorageType,
)
from mtpfs.protocol.datasets import DeviceInfo, StorageInfo, encode_property_list
from mtpfs.protocol.wire import encode_integers, encode_value
from mtpfs.virtual import properties, thumbnails
from mtpfs.virtual.capabilities import Capabilities
from mtpfs.virtual.phone import Handlers, Phone, Reply, Request
from mtpfs.virtual.store import Node, Refusal
from mtpfs.virtual.transfers import FileRange

_EVENTS = (
    Event.ObjectAdded,
    Event.ObjectRemoved,
    Event.StoreAdded,
    Event.StoreRemoved,
    Event.DevicePropChanged,
    Event.ObjectInfoChanged,
)
MTP_EXTENSION, MTP_VERSION = 6, 100
DEVICE_PROPERTIES = (
    DeviceProperty.SynchronizationPartner,
    DeviceProperty.DeviceFriendlyName,
    DeviceProperty.BatteryLevel,
    DeviceProperty.PerceivedDeviceType,
)


def get_device_info(phone: Phone, _: Request) -> Reply:
    """Answer with DeviceInfo. It needs no session."""
    kind = phone.capabilities
    info = DeviceInfo(
        vendor_extension_id=MTP_EXTENSION if kind.mtp else 0,
        vendor_extension_version=MTP_VERSION if kind.mtp else 0,
        vendor_extension_desc=kind.extensions,
        operations_supported=kind.operations,
        events_supported=_events(kind),
        device_properties_supported=tuple(int(code) for code in DEVICE_PROPERTIES),
        playback_formats=kind.formats or tuple(int(code) for code in properties.PLAYBACK_FORMATS),
        manufacturer=kind.manufacturer,
        model=kind.model,
        device_version="1.0",
        serial_number=kind.serial,
    )
    return Reply(data=info.encode())


def _events(kind: Capabilities) -> tuple[int, ...]:
    if not kind.events:
        return ()
    return tuple(int(event) for event in _EVENTS if event != Event.ObjectInfoChanged or not kind.stale_sizes)


def open_session(phone: Phone, request: Request) -> Reply:
    """Open the session with the host's number. Handles outlive sessions, as on Android."""
    if phone.session is not None:
        return Reply(Response.SessionAlreadyOpen, (phone.session,))
    phone.session = request.p(1)
    return Reply()


def close_session(phone: Phone, _: Request) -> Reply:
    """Close the session. What is being edited stays open."""
    phone.require_session()
    phone.session = None
    phone.events.clear()
    return Reply()


def get_storage_ids(phone: Phone, _: Request) -> Reply:
    """Answer with the storages' ids: none while the phone is locked."""
    phone.require_session()
    return Reply(data=encode_integers([storage.id for storage in phone.store.storages]))


def get_storage_info(phone: Phone, request: Request) -> Reply:
    """Answer with StorageInfo, its room in bytes."""
    phone.require_session()
    storage = phone.store.storage(request.p(1))
    phone.require_trust()
    capacity, free = phone.store.free(storage)
    info = StorageInfo(
        storage_type=StorageType.REMOVABLE_RAM if storage.removable else StorageType.FIXED_RAM,
        access_capability=_access(phone.capabilities),
        max_capacity=capacity,
        free_space_in_bytes=free,
        storage_description=storage.description,
    )
    return Reply(data=info.encode())


def _access(kind: Capabilities) -> int:
    if not kind.read_only:
        return AccessCapability.READ_WRITE
    if kind.deletes_though_read_only:
        return AccessCapability.READ_ONLY_WITH_DELETE
    return AccessCapability.READ_ONLY_WITHOUT_DELETE


def _select(phone: Phone, storage_id: int, object_format: int, parent: int) -> list[Node]:
    """Find objects by parent: ROOT_PARENT for the roots' children, 0 for everything."""
    if parent in {0, ROOT_PARENT}:
        storages = phone.store.storages
        folders = [s.root for s in storages] if storage_id == ALL else [phone.store.storage(storage_id).root]
    else:
        folders = [phone.store.node(parent)]
    look = phone.store.descendants if parent == 0 else phone.store.children
    found = [node for folder in folders for node in look(folder)]
    return [node for node in found if object_format in {0, properties.format_of(node)}]


def _listing(phone: Phone, request: Request) -> list[Node]:
    phone.require_session()
    phone.require_storage(Response.InvalidStorageID)
    if request.p(1) != ALL:
        phone.store.storage(request.p(1))
    phone.require_trust()
    return _select(phone, request.p(1), request.p(2), request.p(3))


def get_num_objects(phone: Phone, request: Request) -> Reply:
    """Answer with the number of objects in a storage and a folder; see `get_object_handles`."""
    return Reply(parameters=(len(_listing(phone, request)),))


def get_object_handles(phone: Phone, request: Request) -> Reply:
    """Answer with the handles in a storage and a folder, of one format if one is given.

    The folder 0xFFFFFFFF is the root, 0 means all folders; the storage 0xFFFFFFFF means all storages.
    """
    return Reply(data=encode_integers([node.handle for node in _listing(phone, request)]))


def get_object_info(phone: Phone, request: Request) -> Reply:
    """Answer with ObjectInfo."""
    phone.require_storage()
    return Reply(data=properties.object_info(phone, phone.store.node(request.p(1))).encode())


def open_for_reading(phone: Phone, handle: int) -> tuple[int, int]:
    """Open an object's file; return its descriptor, which the caller closes, and its size in bytes.

    Raises `Refusal` for a folder, and `OSError`.
    """
    node = phone.store.node(handle)
    if node.folder:
        raise Refusal(Response.GeneralError)
    descriptor = os.open(phone.store.path_of(node), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return descriptor, os.fstat(descriptor).st_size


def get_object(phone: Phone, request: Request) -> Reply:
    """Answer with a whole file."""
    phone.require_storage()
    descriptor, size = open_for_reading(phone, request.p(1))
    return Reply(data=FileRange(descriptor, 0, size))


def _partial(phone: Phone, handle: int, offset: int, length: int) -> Reply:
    phone.require_storage()
    descriptor, size = open_for_reading(phone, handle)
    if offset > size:
        os.close(descriptor)
        # AOSP computes a negative length here: an error over FunctionFS, a hang on old kernels
        raise Refusal(Response.GeneralError)
    length = min(length, size - offset)
    return Reply(parameters=(length,), data=FileRange(descriptor, offset, length))


def get_partial_object(phone: Phone, request: Request) -> Reply:
    """Answer with bytes from a 32-bit offset, fewer at the end, and with their count."""
    return _partial(phone, request.p(1), request.p(2), request.p(3))


def get_partial_object_64(phone: Phone, request: Request) -> Reply:
    """Answer with bytes from a 64-bit offset (Android's 95C1): lower half, upper half, count."""
    if phone.capabilities.broken_partial64:
        return get_partial_object(phone, request)  # cmtp-responder, __process_commands: one handler for both
    return _partial(phone, request.p(1), request.p(2) | request.p(3) << 32, request.p(4))


def get_thumb(phone: Phone, request: Request) -> Reply:
    """Answer with a thumbnail; GeneralError where there is none, for whatever reason, as AOSP says it."""
    phone.require_storage()
    node = phone.store.node(request.p(1))
    return Reply(data=thumbnails.thumbnail(phone, node, properties.format_of(node)))


def get_object_props_supported(phone: Phone, _: Request) -> Reply:
    """Answer with the codes of all properties, whatever the format."""
    phone.require_session()
    sample = (Property.RepresentativeSampleData,) if phone.capabilities.thumbnails == "late" else ()
    return Reply(data=encode_integers([*properties.SUPPORTED, *sample], 2))


def get_object_prop_desc(_: Phone, request: Request) -> Reply:
    """Answer with an ObjectPropDesc, whatever the format."""
    description = properties.description(request.p(1))
    if description is None:
        raise Refusal(Response.ObjectPropNotSupported)
    return Reply(data=description.encode())


def get_object_prop_value(phone: Phone, request: Request) -> Reply:
    """Answer with one property of an object."""
    phone.require_storage()
    if request.p(2) == Property.RepresentativeSampleData and phone.capabilities.thumbnails == "late":
        return Reply(data=encode_value(DataType.AUINT8, tuple(_sample(phone, request.p(1)))))
    value = properties.element(phone, phone.store.node(request.p(1)), request.p(2))
    if value.value is None:
        raise Refusal(Response.InvalidObjectPropFormat)
    return Reply(data=encode_value(value.data_type, value.value))


def _sample(phone: Phone, handle: int) -> bytes:
    node = phone.store.node(handle)
    object_format = properties.format_of(node)
    try:
        return thumbnails.thumbnail(phone, node, object_format)
    except Refusal:
        return b""  # buteo-mtp, fsstorageplugin: a property without a value


def get_object_prop_list(phone: Phone, request: Request) -> Reply:
    """Answer with properties of objects: handle, format, property, group, depth.

    Depth 0 is the object itself, 1 its children, all else is refused but `ALL` of everything. The property `ALL`
    means all. Groups aren't known.
    """
    phone.require_storage()
    handle, object_format, code, group, depth = (request.p(number) for number in range(1, 6))
    try:
        nodes = _prop_list_objects(phone, handle, object_format, code, group, depth)
    except Refusal as refusal:
        # The error comes behind a data phase that holds a count of zero
        return Reply(refusal.code, data=encode_property_list(()))
    codes = properties.SUPPORTED if code == ALL else (code,)
    elements = (properties.element(phone, node, code) for node in nodes for code in codes)
    return Reply(data=encode_property_list(elements))


def _prop_list_objects(
    phone: Phone, handle: int, object_format: int, code: int, group: int, depth: int
) -> list[Node]:
    if code == 0:
        raise Refusal(Response.SpecificationByGroupUnsupported if group else Response.ParameterNotSupported)
    if phone.capabilities.lists_one_by_one:
        return [phone.store.node(handle)]  # uMTP-Responder never looks at the depth
    if depth == ALL and handle in {0, ALL}:
        handle, depth = ALL, 0
    if depth not in {0, 1}:
        raise Refusal(Response.SpecificationByDepthUnsupported)
    if phone.capabilities.lists_one_storage and len(phone.store.storages) > 1 and (depth or handle == ALL):
        # buteo-mtp, StorageFactory::getObjectHandles asks every storage, and one doesn't know the folder
        raise Refusal(Response.InvalidParentObject)
    if handle == ALL:
        return _select(phone, ALL, object_format, 0)
    if handle == 0:
        return _select(phone, ALL, object_format, ROOT_PARENT)
    node = phone.store.node(handle)
    itself = [node] if object_format in {0, properties.format_of(node)} else []
    if depth == 0:
        return itself
    # The folder itself comes last, and an initiator has to know that it isn't one of the children
    return _select(phone, ALL, object_format, handle) + itself


HANDLERS = Handlers(
    queries={
        Operation.GetDeviceInfo: (0, get_device_info),
        Operation.OpenSession: (1, open_session),
        Operation.CloseSession: (0, close_session),
        Operation.ResetDevice: (0, close_session),
        Operation.GetStorageIDs: (0, get_storage_ids),
        Operation.GetStorageInfo: (1, get_storage_info),
        Operation.GetNumObjects: (3, get_num_objects),
        Operation.GetObjectHandles: (3, get_object_handles),
        Operation.GetObjectInfo: (1, get_object_info),
        Operation.GetObject: (1, get_object),
        Operation.GetThumb: (1, get_thumb),
        Operation.GetPartialObject: (3, get_partial_object),
        Operation.GetPartialObject64: (4, get_partial_object_64),
        Operation.GetObjectPropsSupported: (1, get_object_props_supported),
        Operation.GetObjectPropDesc: (2, get_object_prop_desc),
        Operation.GetObjectPropValue: (2, get_object_prop_value),
        Operation.GetObjectPropList: (5, get_object_prop_list),
    }
)
