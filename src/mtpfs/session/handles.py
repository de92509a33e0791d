"""An object handle, together with the session that it is valid in.

A device may number its objects anew in each session. So a number alone may name another object by the time it is
used. The two travel as one value from the tree down to here. A handle of an earlier session is refused here, before
anything is sent.
"""

from __future__ import annotations

from typing import NamedTuple

from mtpfs.protocol.codes import ROOT_PARENT


class Handle(NamedTuple):
    """Names one object in one session. Number 0 is a storage's root, which is no object.

    A tuple, because a listing of many objects does little but look handles up in dictionaries.
    """

    number: int
    generation: int
    """Counts the sessions on this device: see `Session.generation`."""

    @property
    def is_root(self) -> bool:
        """Tell whether it stands for a storage's root, which is no object."""
        return self.number == 0

    def as_parent(self) -> Handle:
        """Return it as GetObjectHandles and SendObjectInfo want a folder: a storage's root is all ones there."""
        return Handle(ROOT_PARENT, self.generation) if self.is_root else self

    def __str__(self) -> str:
        return f"0x{self.number:X}"
