"""What `--exclude` leaves out: rsync's patterns, because that is where people know the word from.

A pattern without a slash is about a name, wherever it is. One with a slash in it is about the end of a path, and with a
slash in front about the whole path below the directory that is synchronized. A slash at the end means directories only.
`*` and `?` and `[…]` match no slash, `**` matches anything. What is below an excluded directory is never asked about.

It is a module of its own, and no library: what is to be had reads gitignore's patterns, where a slash in the middle
and `**` mean something else.

Invariant: what a pattern means depends on nothing but the pattern, the path, and whether that is a directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mtpfs.errors import UsageError

_MAGIC = re.compile(r"[*?[]")
_CLASSES = {
    "alnum": r"a-zA-Z0-9",
    "alpha": r"a-zA-Z",
    "blank": r" \t",
    "digit": r"0-9",
    "lower": r"a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": r"A-Z",
    "xdigit": r"0-9A-Fa-f",
}


class Excludes:
    """Some patterns; raises `UsageError` for one that means nothing."""

    def __init__(self, patterns: Iterable[str]) -> None:
        of_all: list[str] = []
        of_directories: list[str] = []
        for pattern in patterns:
            text = pattern.removesuffix("/")
            (of_directories if text != pattern else of_all).append(_whole(pattern, text))
        self._of_all = _any_of(of_all)
        self._of_directories = _any_of(of_directories)

    def __call__(self, path: str, *, is_dir: bool) -> bool:
        """Tell whether a path below the synchronized directory, such as `a/b`, is left out by itself."""
        # A directory has its slash, so that `name/***` means it, and all that is in it.
        ways = (f"/{path}", f"/{path}/") if is_dir else (f"/{path}",)
        return any(self._of_all.fullmatch(way) for way in ways) or (
            is_dir and any(self._of_directories.fullmatch(way) for way in ways)
        )


def _any_of(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns) if patterns else "(?!)", re.DOTALL)


def _whole(pattern: str, text: str) -> str:
    """Return a regular expression for a path that begins with a slash."""
    if not text or text == "/":
        raise UsageError(f"the pattern {pattern!r} names nothing")
    if not _MAGIC.search(text):
        # Then a backslash is one, too.
        return rf"(?:/|.*/){re.escape(text)}" if text[0] != "/" else re.escape(text)
    inner = _translated(pattern, text)
    # What begins with `**` takes the slash in front for its own: so `**/name` is also at the top.
    found = inner if text[0] == "/" or text.startswith("**") else f"(?:/|.*/){inner}"
    # Only `***` looks at the slash that stands for a directory.
    return found if text.endswith("***") else rf"(?!.*/\Z){found}"


def _translated(pattern: str, text: str) -> str:
    found, position = "", 0
    while position < len(text):
        character = text[position]
        position += 1
        if character == "*":
            end = position
            while text[end : end + 1] == "*":
                end += 1
            found += ".*" if end > position else "[^/]*"
            position = end
        elif character == "?":
            found += "[^/]"
        elif character == "[":
            part, position = _class(pattern, text, position)
            found += part
        else:
            if character == "\\":
                character, position = text[position : position + 1], position + 1
                if not character:
                    raise UsageError(f"the pattern {pattern!r} ends in a backslash")
            found += re.escape(character)
    return found


def _class(pattern: str, text: str, position: int) -> tuple[str, int]:
    """Translate what begins behind a `[`; return where it ends, too."""
    negated = text[position : position + 1] in {"!", "^"}
    position += negated
    members, first = "", True
    while text[position : position + 1] != "]" or first:
        first = False
        if named := re.compile(r"\[:([a-z]+):\]").match(text, position):
            if named[1] not in _CLASSES:
                raise UsageError(f"the pattern {pattern!r}: there are no characters called {named[1]}")
            members += _CLASSES[named[1]]
            position = named.end()
            continue
        low, position = _member(pattern, text, position)
        if text[position : position + 1] == "-" and text[position + 1 : position + 2] not in {"", "]"}:
            high, position = _member(pattern, text, position + 1)
            if low <= high:  # else nothing is between them
                members += f"{re.escape(low)}-{re.escape(high)}"
        else:
            members += re.escape(low)
    position += 1
    if not members:
        return ("[^/]" if negated else "(?!)"), position
    return f"(?!/)[{'^' if negated else ''}{members}]", position


def _member(pattern: str, text: str, position: int) -> tuple[str, int]:
    character = text[position : position + 1]
    if character == "\\":
        position += 1
        character = text[position : position + 1]
    if not character:
        raise UsageError(f"the pattern {pattern!r} has a [ without its ]")
    return character, position + 1
