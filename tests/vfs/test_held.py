"""Which files wait for their name: those that a program is sure to rename, and no others."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.vfs.held import PROGRAMS, holds

HASH = b"0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "exclusive", "mode"),
    [
        (b".photo.jpg.Ab12Cd", True, 0o600),
        (b".bashrc.Mfkpba", True, 0o600),
        (b".a.aaaaaa", True, 0o600),
        (b".program.Ab12Cd", True, 0o700),
        (b".secret.Ab12Cd", True, 0o200),
        (b".unison.photo.jpg." + HASH + b".unison.tmp", True, 0o600),
        (b".unison.photo.jpg..001.." + HASH + b".unison.tmp", True, 0o644),
        (b".syncthing.photo.jpg.tmp", True, 0o644),
        (b"~syncthing~photo.jpg.tmp", True, 0o755),
        (b"photo.jpg.0badcafe.partial", False, 0o644),
        (b"photo-8ea2.ffs_tmp", True, 0o644),
        (b"photo.8ea2.ffs_tmp", True, 0o755),
        (b"-8ea2.ffs_tmp", True, 0o640),
        (b".photo.jpg.~3fa9b", False, 0o644),
        (b"photo.jpg_exiftool_tmp", False, 0o644),
        (b".a\nb.Ab12Cd", True, 0o600),
        (b".\xff\xfe.Ab12Cd", True, 0o600),
    ],
)
def test_held(name: bytes, exclusive: bool, mode: int) -> None:
    """What these programs create waits, whether or not the mode tells the kind of file too."""
    assert holds(name, exclusive=exclusive, mode=mode)
    assert holds(name, exclusive=exclusive, mode=stat.S_IFREG | mode)


@pytest.mark.parametrize(
    ("name", "exclusive", "mode"),
    [
        (b".bashrc.backup", False, 0o644),
        (b".bashrc.backup", False, 0o600),
        (b".bashrc.backup", True, 0o644),
        (b".photo.jpg.Ab12Cd", True, 0o400),
        (b".photo.jpg.Ab12Cd", True, 0o4600),
        (b"photo.jpg.Ab12Cd", True, 0o600),
        (b".photo", True, 0o600),
        (b".photo.jpg", True, 0o600),
        (b"..Ab12Cd", True, 0o600),
        (b".a.Ab12C-", True, 0o600),
        (b".a.Ab12Cde", True, 0o600),
        (b".a.Ab12Cd\n", True, 0o600),
        (b"photo.jpg.partial", False, 0o644),
        (b"photo.jpg.part", False, 0o644),
        (b"photo.jpg.0badcafe.partial", True, 0o644),
        (b"photo.jpg.0BADCAFE.partial", False, 0o644),
        (b"photo-8ea2.ffs_tmp", False, 0o644),
        (b".unison.photo.jpg.unison.tmp", True, 0o600),
        (b".syncthing.photo.jpg.tmp", False, 0o644),
        (b".photo.jpg.~3fa9b0c1d", False, 0o644),
        (b"photo.jpg~", False, 0o644),
        (b"photo.jpg_original", False, 0o644),
        (b".goutputstream-AB12CD", True, 0o600),
    ],
)
def test_not_held(name: bytes, exclusive: bool, mode: int) -> None:
    """What has only the name, or was only created that way, is sent at once."""
    assert not holds(name, exclusive=exclusive, mode=mode)


@given(st.binary(min_size=1, max_size=255), st.booleans(), st.integers(0, 0o177777))
def test_any_name(name: bytes, exclusive: bool, mode: int) -> None:
    """Every name has an answer, and only a row of the table makes it yes."""
    held = any(program.made(name, exclusive=exclusive, mode=mode) for program in PROGRAMS)
    assert holds(name, exclusive=exclusive, mode=mode) is held


def test_rows_are_whole() -> None:
    """Every row has a source, and asks for nothing that it doesn't allow."""
    for program in PROGRAMS:
        assert "." in program.source
        assert program.needs
        assert not program.needs & ~program.allows
