"""Names that a case-insensitive filesystem doesn't tell apart, as Linux's does it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtpfs.vfs.names import fold

ANY = st.text(st.characters(codec=None, exclude_categories=()))
"""Lone surrogates too, which devices send."""
MARKED = st.text(
    st.sampled_from(
        "aAéÉßKÅ각\u017f\u212a\u0391\u03b1\u1fb3\u1fbc\u1f4d\u03b9\u0130\u0131\ufb01"
        "\u0301\u0327\u0345\u034f\u200d\ufe0f\u00ad"
    )
)
"""Where folding, sorting and dropping meet."""


@given(ANY | MARKED)
def test_folding_twice_changes_nothing(name: str) -> None:
    """A key is its own key."""
    assert fold(fold(name)) == fold(name)


@given(ANY | MARKED)
def test_both_normal_forms_are_one_name(name: str) -> None:
    """However its accents are written, a name has one key."""
    assert fold(unicodedata.normalize("NFC", name)) == fold(unicodedata.normalize("NFD", name)) == fold(name)


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_case_makes_no_difference(name: str) -> None:
    """What Python calls folded has the name's own key."""
    assert fold(name.casefold()) == fold(name)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_has_a_short_way_to_the_same_key(name: str) -> None:
    """The short way of plain names isn't another way."""
    assert fold(name) == fold(name + "é").removesuffix("e\u0301")


def test_every_character_alone() -> None:
    """Every character of Unicode can be folded, and once is enough."""
    for character in map(chr, range(0x110000)):
        key = fold(character)
        assert fold(key) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("song.mp3", "Song.MP3"),
        ("Caf\u00e9.mp3", "cafe\u0301.mp3"),
        ("Straße", "STRASSE"),
        ("Straße", "STRAẞE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("ﬁle", "FILE"),
        ("soft\u00adware", "software"),
        ("man\u200dwoman", "manwoman"),
        ("heart\ufe0f", "heart"),
        ("\ufefftext", "text"),
        ("한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
        ("\u212bngstr\u00f6m", "\u00c5ngström"),
        ("a\u0301\u0327", "a\u0327\u0301"),
    ],
)
def test_one_file(one: str, other: str) -> None:
    """Such names are one file on a phone."""
    assert one != other
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cafe", "café"),
        ("\N{LATIN SMALL LETTER DOTLESS I}", "i"),  # full folding without the Turkish exception
        ("²", "2"),  # compatibility forms stay
        ("a\N{NO-BREAK SPACE}b", "a b"),
        ("a.", "a"),
    ],
)
def test_two_files(one: str, other: str) -> None:
    """Such names are two files on a phone."""
    assert fold(one) != fold(other)


@pytest.mark.parametrize("name", ["\ud800", "a\udcff\u0301", "\udc00\ud800", "É\ud83d"])
def test_half_characters(name: str) -> None:
    """What is no character, but may be in a device's name, is kept."""
    assert [unit for unit in fold(name) if "\ud800" <= unit <= "\udfff"] == [
        unit for unit in name if "\ud800" <= unit <= "\udfff"
    ]


def test_ignorable_is_what_unicode_says() -> None:
    """The table has as many characters as the standard counts."""
    dropped = sum(not fold(chr(code)) for code in range(0x110000))
    assert dropped == 4174
