"""What an object tells about itself: format, properties, ObjectInfo.

One table maps a property code to its data type and to a function of the
object. Property lists, single values and descriptions all come from it. As on
Android, a file's format follows from its name, dates are local time without a
zone, folders have size 0, and only the file name can be written.

Invariant: every property that is listed as supported has a value for every
object.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from mtpfs.protocol.codes import DataType, Format, Property
from mtpfs.protocol.datasets import SIZE_UNKNOWN, ObjectInfo, PropertyDescription, PropertyElement
from mtpfs.protocol.dates import encode_local_date
from mtpfs.protocol.wire import MAX_STRING_UNITS, Value
from mtpfs.virtual import thumbnails
from mtpfs.virtual.changes import is_protected
from mtpfs.virtual.phone import Phone
from mtpfs.virtual.store import Node

FORM_DATE_TIME = 3

_FORMATS: dict[str, int] = {
    "aac": Format.AAC,
    "avi": Format.AVI,
    "bmp": Format.BMP,
    "doc": Format.MSWordDocument,
    "flac": Format.FLAC,
    "gif": Format.GIF,
    "heic": Format.HEIF,
    "htm": Format.HTML,
    "html": Format.HTML,
    "jpeg": Format.EXIF_JPEG,
    "jpg": Format.EXIF_JPEG,
    "m3u": Format.M3UPlaylist,
    "m4a": Format.M4A,
    "mp3": Format.MP3,
    "mp4": Format.MP4,
    "mpeg": Format.MPEG,
    "mpg": Format.MPEG,
    "ogg": Format.OGG,
    "png": Format.PNG,
    "ppt": Format.MSPowerpointPresentationPPT,
    "tif": Format.TIFF,
    "tiff": Format.TIFF,
    "txt": Format.Text,
    "wav": Format.WAV,
    "wma": Format.WMA,
    "wmv": Format.WMV,
    "xls": Format.MSExcelSpreadsheetXLS,
    "xml": Format.XMLDocument,
    "3gp": Format.F3GP,
}
PLAYBACK_FORMATS = (Format.Undefined, Format.Association, *sorted(set(_FORMATS.values())))


def format_of(node: Node) -> int:
    """Return a node's object format, by its name's extension."""
    if node.folder:
        return Format.Association
    stem, dot, extension = node.name.rpartition(".")
    return _FORMATS.get(extension.lower(), Format.Undefined) if stem or dot else Format.Undefined


def size_of(phone: Phone, node: Node) -> int:
    """Return the size in bytes that the phone tells of a node: with an open edit, and with a fault's lie."""
    edit = phone.edits.get(node.handle)
    size = edit.size if edit else _known_size(phone, node)
    return size if node.folder else max(0, size + phone.size_lie)


def _known_size(phone: Phone, node: Node) -> int:
    if phone.capabilities.stale_sizes and node.first_size is not None and not node.folder:
        return node.first_size  # cmtp-responder, obj_info: filled once
    return phone.store.status(node)[0]


def protection(phone: Phone, node: Node) -> int:
    """Return the ProtectionStatus: 1 for what a camera protects, else 0."""
    # AOSP says 0 of everything; a camera's mark is what keeps its owner from deleting
    return int(phone.capabilities.pretends_to_delete and is_protected(phone, node))


def parent_handle(node: Node) -> int:
    """Return what is reported as ParentObject: 0 for the root's children."""
    return node.parent.handle if node.parent else 0


def wire_name(text: str) -> str:
    """Clip to what an MTP string holds, as Android does (a name of 255 ASCII characters is too long)."""
    encoded = text.encode("utf-16-le", "surrogatepass")[: 2 * MAX_STRING_UNITS]
    return encoded.decode("utf-16-le", "surrogatepass")


def _listed_date(phone: Phone, node: Node) -> str:
    if not phone.capabilities.dated_lists:
        return encode_local_date(0.0)  # Android up to 8: MediaProvider's column isn't filled
    return date(phone, node)


def date(phone: Phone, node: Node) -> str:
    """Return the modification date as this phone writes it: see `capabilities.DATES`."""
    return _DATES[phone.capabilities.dates](phone.store.status(node)[1])


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S")


_DATES: dict[str, Callable[[float], str]] = {
    "android": encode_local_date,
    "samsung": lambda seconds: f"{encode_local_date(seconds)}.",  # a dot, no digit
    "qemu": _utc,  # UTC that doesn't say so
    "jolla": lambda seconds: f"{_utc(seconds)}Z",
    "lumia": lambda seconds: f"{_utc(seconds + 3600)}+0100",
    "none": lambda _: "",
    "zero": lambda _: "00000000T000000",
    "junk": lambda _: "the day before yesterday",
}


def object_info(phone: Phone, node: Node) -> ObjectInfo:
    """Return a node's ObjectInfo. Sizes that need more than 32 bits are 0xFFFFFFFF, unless it is wide."""
    size, moment = size_of(phone, node), date(phone, node)
    thumb_size, thumb_width, thumb_height = thumbnails.announced(phone, node, format_of(node))
    return ObjectInfo(
        storage_id=node.storage.id,
        object_format=format_of(node),
        protection_status=protection(phone, node),
        object_compressed_size=size if phone.capabilities.wide_object_info else min(size, SIZE_UNKNOWN),
        thumb_format=Format.JFIF if thumb_width else 0,
        thumb_compressed_size=thumb_size,
        thumb_pix_width=thumb_width,
        thumb_pix_height=thumb_height,
        parent_object=parent_handle(node),
        filename=wire_name(node.name),
        capture_date=moment,
        modification_date=moment,
        wide=phone.capabilities.wide_object_info,
    )


@dataclass(frozen=True, slots=True)
class _Property:
    data_type: DataType
    get: Callable[[Phone, Node], Value]
    default: Value
    writable: bool = False
    form_flag: int = 0


def _name(_: Phone, node: Node) -> str:
    return wire_name(node.name)


def _stored_size(phone: Phone, node: Node) -> int:
    # Unlike ObjectInfo's, Android's property doesn't know of an edit that isn't ended
    size = _known_size(phone, node)
    return size if node.folder else max(0, size + phone.size_lie)


def _unique_id(phone: Phone, node: Node) -> int:
    # As useless as Android's: made of path and time, so it changes with every rename and write
    path, moment = phone.store.path(node), int(phone.store.status(node)[1])
    return (zlib.crc32(path.encode("utf-8", "surrogateescape")) << 64) | moment


_TABLE: dict[int, _Property] = {
    Property.StorageID: _Property(DataType.UINT32, lambda _, node: node.storage.id, 0),
    Property.ObjectFormat: _Property(DataType.UINT16, lambda _, node: format_of(node), int(Format.Undefined)),
    Property.ProtectionStatus: _Property(DataType.UINT16, protection, 0),
    Property.ObjectSize: _Property(DataType.UINT64, _stored_size, 0),
    Property.ObjectFileName: _Property(DataType.STR, _name, "", writable=True),
    Property.DateModified: _Property(DataType.STR, _listed_date, "", form_flag=FORM_DATE_TIME),
    Property.ParentObject: _Property(DataType.UINT32, lambda _, node: parent_handle(node), 0),
    Property.PersistantUniqueObjectIdentifier: _Property(DataType.UINT128, _unique_id, 0),
    Property.Name: _Property(DataType.STR, _name, ""),
    Property.DisplayName: _Property(DataType.STR, _name, ""),
    Property.DateAdded: _Property(DataType.STR, _listed_date, "", form_flag=FORM_DATE_TIME),
}
SUPPORTED = tuple(int(code) for code in _TABLE)


def element(phone: Phone, node: Node, code: int) -> PropertyElement:
    """Return one property; an unknown one has the type UNDEF and no value, as AOSP sends it."""
    known = _TABLE.get(code)
    if known is None:
        return PropertyElement(node.handle, code, DataType.UNDEF, None)
    return PropertyElement(node.handle, code, known.data_type, known.get(phone, node))


def description(code: int) -> PropertyDescription | None:
    """Return a property's ObjectPropDesc; None: it isn't supported."""
    known = _TABLE.get(code)
    if known is None:
        return None
    return PropertyDescription(
        code, known.data_type, known.writable, known.default, form_flag=known.form_flag
    )
