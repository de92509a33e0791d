"""Which operations a device has: what it advertises, corrected by what it answers.

OperationNotSupported is an answer about one object until it has been given for several. Phones refuse to delete or
to edit single objects that way, and that must not take the operation from all others. An operation is withdrawn when
as many different objects as `OBJECTS` were refused and it never worked, or when it isn't about an object at all.
(Sony Xperias advertise edit operations that they don't have.)

Invariant: `supports` stays False for an operation that was withdrawn. `note_refusal` never withdraws an operation
that has worked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from mtpfs.errors import name_of
from mtpfs.protocol.codes import Operation
from mtpfs.session import Handle

log = logging.getLogger(__name__)

OBJECTS = 3  # different objects for which an operation has to be refused before it counts as missing


class Operations:
    """What one device can be asked for. `offered` returns what it advertises at the moment."""

    def __init__(self, offered: Callable[[], Collection[int]]) -> None:
        self._offered = offered
        self._refused: dict[int, set[Handle]] = {}
        self._worked: set[int] = set()
        self.withdrawn: dict[int, str] = {}
        """The operations that are advertised and aren't used, each with the reason."""

    def supports(self, *operations: int) -> bool:
        """Tell whether the device has all of `operations`, as far as is known."""
        offered = self._offered()
        return all(code in offered and code not in self.withdrawn for code in operations)

    def has_worked(self, operation: int) -> bool:
        """Tell whether the device has ever done `operation`."""
        return operation in self._worked

    def note_success(self, operation: int) -> None:
        """Note that the device did `operation`."""
        self._worked.add(operation)

    def note_refusal(self, operation: int, subject: Handle | None) -> None:
        """Note that the device said it has no `operation`, when asked about `subject` (None: about no object)."""
        if operation in self._worked:
            return
        refused = self._refused.setdefault(operation, set())
        if subject is not None:
            refused.add(subject)
        if subject is None or len(refused) >= OBJECTS:
            self.withdraw(operation, "the device says it has none")

    def withdraw(self, operation: int, reason: str) -> None:
        """Use `operation` no more; `reason` is for people."""
        if operation not in self.withdrawn:
            log.info("%s isn't used any more: %s", name_of(Operation, operation), reason)
            self.withdrawn[operation] = reason
            self._refused.pop(operation, None)
