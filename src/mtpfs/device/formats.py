"""Object formats for uploads, from the extension of the name.

Android looks at the name only. But players refuse a format that they don't list, or don't show what came as
"undefined". So a file is sent under the format of its extension where the device lists that, and as Undefined
otherwise. Playlists and albums whose format is "abstract" are objects without data, so no file is sent as one.

Invariant: what is returned is Undefined or was listed by the device.
"""

from __future__ import annotations

from collections.abc import Container

from mtpfs.protocol.codes import Format

_BY_EXTENSION: dict[str, tuple[Format, ...]] = {
    "3g2": (Format.F3GP,),
    "3gp": (Format.F3GP,),
    "3gpp": (Format.F3GP,),
    "aa": (Format.AudibleCodec,),
    "aac": (Format.AAC,),
    "aif": (Format.AIFF,),
    "aiff": (Format.AIFF,),
    "asf": (Format.ASF,),
    "avi": (Format.AVI,),
    "bmp": (Format.BMP,),
    "dng": (Format.DNG,),
    "doc": (Format.MSWordDocument,),
    "flac": (Format.FLAC,),
    "gif": (Format.GIF,),
    "heic": (Format.HEIF,),
    "heif": (Format.HEIF,),
    "htm": (Format.HTML,),
    "html": (Format.HTML,),
    "ics": (Format.vCalendar2,),
    "jp2": (Format.JP2,),
    "jpe": (Format.EXIF_JPEG, Format.JFIF),
    "jpeg": (Format.EXIF_JPEG, Format.JFIF),
    "jpg": (Format.EXIF_JPEG, Format.JFIF),
    "jpx": (Format.JPX,),
    "m3u": (Format.M3UPlaylist,),
    "m4a": (Format.M4A, Format.AAC, Format.MP4),
    "m4v": (Format.MP4,),
    "mov": (Format.QT,),
    "mp2": (Format.MP2,),
    "mp3": (Format.MP3,),
    "mp4": (Format.MP4,),
    "mpeg": (Format.MPEG,),
    "mpg": (Format.MPEG,),
    "oga": (Format.OGG,),
    "ogg": (Format.OGG,),
    "pls": (Format.PLSPlaylist,),
    "png": (Format.PNG,),
    "ppt": (Format.MSPowerpointPresentationPPT,),
    "qt": (Format.QT,),
    "tif": (Format.TIFF, Format.TIFF_EP),
    "tiff": (Format.TIFF, Format.TIFF_EP),
    "txt": (Format.Text,),
    "vcf": (Format.vCard3, Format.vCard2),
    "wav": (Format.WAV,),
    "wma": (Format.WMA,),
    "wmv": (Format.WMV,),
    "wpl": (Format.WPLPlaylist,),
    "xls": (Format.MSExcelSpreadsheetXLS,),
    "xml": (Format.XMLDocument,),
}


def format_of(name: str, listed: Container[int]) -> int:
    """Return the format to send an object called `name` as, to a device that lists `listed`."""
    stem, dot, extension = name.rpartition(".")
    if stem and dot:
        for candidate in _BY_EXTENSION.get(extension.casefold(), ()):
            if candidate in listed:
                return candidate
    return Format.Undefined
