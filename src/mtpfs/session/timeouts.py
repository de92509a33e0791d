"""How long a transaction may go without a byte moving before it counts as failed.

There are five classes of operations, after what responders really do (a recursive delete answers once, at its end; an
iPhone converts a picture before its first byte comes). A timeout begins anew whenever bytes move, so a slow link is
never mistaken for a dead one.

Invariant: every operation has a finite timeout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mtpfs.protocol.codes import Operation

_CONTENTS = {
    Operation.GetObject,
    Operation.GetPartialObject,
    Operation.GetPartialObject64,
    Operation.GetThumb,
}
_LISTING = {Operation.GetObjectHandles, Operation.GetObjectPropList, Operation.GetNumObjects}
_UPLOAD = {
    Operation.SendObject,
    Operation.SendObjectInfo,
    Operation.SendPartialObject,
    Operation.TruncateObject,
    Operation.EndEditObject,
}
_DEVICE_WORK = {Operation.CopyObject, Operation.MoveObject, Operation.DeleteObject}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds without progress, by class of operation."""

    metadata: float = 10.0
    contents: float = 30.0  # a file's bytes, either way: between two of them, and before the first that comes
    listing: float = 60.0  # Android scans the directory first
    upload: float = 120.0  # the final response waits for flash and media scanner
    device_work: float = 600.0  # copy, move and delete trees on the device, one response at the end

    def of(self, operation: int) -> float:
        """Return the seconds that an operation may go without progress."""
        if operation in _CONTENTS:
            return self.contents
        if operation in _LISTING:
            return self.listing
        if operation in _UPLOAD:
            return self.upload
        if operation in _DEVICE_WORK:
            return self.device_work
        return self.metadata

    def scaled(self, metadata: float) -> Timeouts:
        """Return timeouts whose metadata class is `metadata` seconds, the others in proportion."""
        factor = metadata / self.metadata
        return replace(
            self,
            metadata=metadata,
            contents=self.contents * factor,
            listing=self.listing * factor,
            upload=self.upload * factor,
            device_work=self.device_work * factor,
        )
