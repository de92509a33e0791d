"""When a picture was taken: what is in it, what its name says, its date; and that no bytes can harm."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtpfs.pictures.reading import BLOCK, BLOCKS, Bytes
from mtpfs.pictures.taken import Origin, date_in, date_in_name, is_picture, taken
from pictures import made

LOCAL = datetime(2025, 1, 31, 23, 30)


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine is in Berlin: an hour ahead of UTC in winter, two in summer."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def found_in(data: bytes) -> datetime | None:
    return date_in(io.BytesIO(data))


@pytest.mark.parametrize("name", made.EVERY)
def test_every_kind(name: str) -> None:
    """Each kind of picture tells its date, which is local."""
    assert found_in(made.EVERY[name]) == LOCAL


@pytest.mark.parametrize(
    ("offset", "hours"), [("+01:00", 1), ("-5:00", -5), ("-05:00", -5), ("+0530", 5.5), ("Z", 0)]
)
def test_offset(offset: str, hours: float) -> None:
    """The zone is OffsetTimeOriginal (`-5:00` occurs); the hour on the clock stays what it was."""
    found = found_in(made.jpeg(offset=offset))
    assert found is not None
    assert found.replace(tzinfo=None) == LOCAL
    assert found.utcoffset() == timedelta(hours=hours)


def test_other_tags() -> None:
    """OffsetTime is that of another date. Without an original date, the one of digitizing counts; DateTime never."""
    for tags, offset in (
        ({made.ORIGINAL: made.DATE, made.OTHER_OFFSET: "+09:00"}, None),
        ({made.DIGITIZED: made.DATE}, None),
        ({made.ORIGINAL: "0000:00:00 00:00:00", made.DIGITIZED: made.DATE}, None),
        ({made.ORIGINAL: made.DATE, made.ORIGINAL_OFFSET: "+99:00"}, None),
    ):
        found = found_in(made.tiff(tags))
        assert found == LOCAL, tags
        assert found.utcoffset() == offset
    assert found_in(made.tiff({0x0132: made.DATE}, in_first=True)) is None
    assert found_in(made.tiff({made.ORIGINAL: "    :  :     :  :  "})) is None
    assert found_in(made.jpeg(date="")) is None


@pytest.mark.parametrize("version", [0, 1])
def test_film(version: int) -> None:
    """Fault 1: a film's date is UTC. It is turned into this machine's time, and that can be another month."""
    found = found_in(made.film(version=version))
    assert found is not None
    assert (found.replace(tzinfo=None), found.month) == (datetime(2025, 2, 1, 0, 30), 2)
    summer = found_in(made.film(datetime(2025, 7, 1, 12, tzinfo=UTC)))
    assert summer is not None
    assert summer.hour == 14


@pytest.mark.parametrize("seconds", [0, 1, 2_082_844_800, 1_700_000_000, (1 << 32) - 1])
def test_film_without_a_clock(seconds: int) -> None:
    """1904, 1970 and the future are no dates: the name tells then."""
    assert found_in(made.film(seconds)) is None
    found = taken(io.BytesIO(made.film(seconds)), "VID_20250102_030405.mp4", 0.0)
    assert (found.moment, found.origin) == (datetime(2025, 1, 2, 3, 4, 5), Origin.NAME)


@pytest.mark.parametrize(
    "name",
    [
        "IMG_20250102_030405.jpg",
        "IMG20250102030405.jpg",
        "20250102_030405.jpg",
        "20250102_030405(0).jpg",
        "VID_20250102_030405.mp4",
        "MVIMG_20250102_030405.jpg",
        "IMG_20250102_030405_BURST001_COVER.jpg",
        "00001IMG_00001_BURST20250102030405123_COVER.jpg",
        "Screenshot_20250102-030405.png",
        "Screenshot_2025-01-02-03-04-05-123_com.app.jpg",
        "signal-2025-01-02-03-04-05-123.jpg",
        "2025-01-02 03.04.05.jpg",
        "WhatsApp Image 2025-01-02 at 03.04.05.jpeg",
        "photo_2025-01-02_03-04-05.jpg",
        "1234_20250102_030405.jpg",
    ],
)
def test_names(name: str) -> None:
    """Fault 2: names are local time."""
    assert date_in_name(name) == datetime(2025, 1, 2, 3, 4, 5)


def test_names_of_other_kinds() -> None:
    """Fault 13: a messenger's name tells the day. PXL_ is UTC, and so are milliseconds."""
    assert date_in_name("IMG-20250102-WA0001.jpg") == datetime(2025, 1, 2)
    assert date_in_name("VID-20250102-WA0001.mp4") == datetime(2025, 1, 2)
    for name in ("PXL_20250131_233000123.jpg", "PXL_20250131_233000123.MP.jpg", "FB_IMG_1738366200123.jpg"):
        found = date_in_name(name)
        assert found is not None
        assert found.strftime("%Y-%m-%d %H:%M") == "2025-02-01 00:30", name
    for name in (
        "DSC_0001.JPG",
        "IMG_E1234.HEIC",
        "20251301_030405.jpg",
        "99999999.jpg",
        "12345678901234.jpg",
    ):
        assert date_in_name(name) is None, name


def test_what_counts() -> None:
    """Fault 2: the contents first, then the name, then the date of the file."""
    name, date = "IMG_20250102_030405.jpg", 1_500_000_000.0
    assert taken(io.BytesIO(made.jpeg()), name, date).moment == LOCAL
    assert taken(io.BytesIO(made.jpeg("")), name, date).origin is Origin.NAME
    found = taken(io.BytesIO(b""), "DSC_0001.JPG", date)
    assert (found.moment, found.origin) == (datetime(2017, 7, 14, 4, 40), Origin.DATE)
    for unknown in (None, 1e300):
        assert taken(io.BytesIO(b""), "x.jpg", unknown).moment.year >= 2025


def test_contents_count_and_not_the_extension() -> None:
    """A HEIF picture that is called .jpg is read as what it is."""
    assert taken(io.BytesIO(made.heic()), "a.jpg", None).moment == LOCAL
    for data in [*made.EVERY.values(), made.film()]:
        assert is_picture(data[:16]) or data[:3] == b"FUJ" or data[2:3] in b"RU"
    for other in (b"", b"PK\3\4", b"%PDF-1.7", b"\x7fELF", b"RIFF\0\0\0\0WAVE"):
        assert not is_picture(other)


class Counted(io.BytesIO):
    """A file that counts what is read of it."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


def test_little_is_read() -> None:
    """Of a photo the first block, of a film the first and the last; of no file more than a bound."""
    for data, most in (
        (made.jpeg(more=bytes(1 << 22)), BLOCK),
        (made.film(more=bytes(1 << 22)), 2 * BLOCK),
        (b"\xff\xd8" + made.segment(0xE2, bytes(65000)) * 500, BLOCK * BLOCKS),
        (made.box(b"ftyp", b"isom") + made.box(b"free", bytes(65000)) * 300, BLOCK * BLOCKS),
    ):
        file = Counted(data)
        date_in(file)
        assert file.total <= most


def test_little_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that tells of millions of pieces, or of boxes in boxes, takes no longer than its bytes."""
    count = 0
    real = Bytes.at

    def at(self: Bytes, offset: int, size: int) -> bytes:
        nonlocal count
        count += 1
        return real(self, offset, size)

    monkeypatch.setattr(Bytes, "at", at)
    items = made.box(b"infe", b"\x02\0\0\0" + struct.pack(">HH4s", 65535, 0, b"Exif") + b"\0")
    rows = struct.pack(">HHHH", 1, 0, 0, 4096) * 4096
    places = made.box(b"iloc", bytes([1, 0, 0, 0, 0, 0]) + struct.pack(">H", 65535) + rows)
    tables = made.box(b"iinf", bytes(4) + struct.pack(">H", 1) + items) + places
    assert found_in(made.box(b"ftyp", b"heic") + made.box(b"meta", bytes(4) + tables)) is None
    assert 4096 < count < 50_000


SEEDS = [*made.EVERY.values(), made.film(), made.film(version=1), made.heic(method=1)]


@given(st.binary(max_size=400))
@example(b"\xff\xd8" + b"\xff" * 400)
def test_any_bytes(data: bytes) -> None:
    """No bytes are an error, or take long."""
    date_in(io.BytesIO(data))


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=9)), max_size=6),
    st.integers(0, 1 << 12),
)
def test_damaged_files(seed: bytes, damages: list[tuple[int, bytes]], lost: int) -> None:
    """A file that was good is no error when some of it is overwritten, and its end cut off."""
    data = bytearray(seed)
    for place, damage in damages:
        at = place % len(data)
        data[at : at + len(damage)] = damage
    date_in(io.BytesIO(bytes(data[: max(0, len(data) - lost % len(data))])))


@given(st.text(max_size=60))
def test_any_name(name: str) -> None:
    date_in_name(name)


@given(st.from_regex(r"(IMG|PXL|VID)[-_]\d{8}[-_]\d{6}(\d{3})?", fullmatch=True))
def test_any_digits(name: str) -> None:
    date_in_name(name)


def test_unreadable_disk() -> None:
    """An error of the disk is no date that isn't known."""

    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError

    with pytest.raises(OSError):
        date_in(Broken(b"x"))
