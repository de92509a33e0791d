"""Texts from devices on their way to a terminal or a log.

Strategy: whatever a terminal could take for a command, or a reader for the end of
a line, is shown escaped; all else, in any script, as it is.

Invariant: what comes out is one line that every terminal and every encoding of Unicode takes.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return `text` with control characters, line ends and lone surrogates as `\x1b` and the like."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
