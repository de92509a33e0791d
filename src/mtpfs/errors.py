"""Every error mtpfs raises on purpose, as one small tree.

An exception says *whose* fault it is, and carries an errno. The one place that answers the kernel (`_answers` in
`mtpfs.fuse.operations`) needs only `.errno`. A program on the mount sees that number, with one exception: ETIMEDOUT
becomes EIO there. By then the session is back in step, or has given up, and programs know EIO better. The log and the
layers below keep the difference.

Invariant: each class here has a meaningful `errno`. But for bugs, and errors of this machine's own disk (`OSError`),
nothing else leaves the layers below `fuse/`.
"""

from __future__ import annotations

import errno as e

from mtpfs.protocol.codes import Operation, Response


class MtpfsError(Exception):
    """Root of the tree. `errno` is what a program on the mount sees; of ETIMEDOUT it sees EIO."""

    errno: int = e.EIO


class FsError(MtpfsError):
    """A filesystem rule was broken (name exists, not a directory, read-only…)."""

    def __init__(self, errno: int, message: str = "") -> None:
        super().__init__(message or e.errorcode.get(errno, str(errno)))
        self.errno = errno


class SetupError(MtpfsError):
    """The mount can't come up: text for a person, one paragraph, saying what to do."""


class UsageError(SetupError):
    """The command line is wrong: an option, a source, an argument."""


class MachineError(SetupError):
    """What a mount of any device needs isn't on this machine."""


class InterruptedSetupError(SetupError):
    """A signal came before the mount was usable; there is none now."""

    def __init__(self) -> None:
        super().__init__("interrupted")


def leaves(group: BaseExceptionGroup[MtpfsError]) -> list[MtpfsError]:
    """Return the errors that trio's nurseries have bundled."""
    found: list[MtpfsError] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


# --- the wire -----------------------------------------------------------------


class ProtocolError(MtpfsError):
    """Bytes that are not MTP, or not the MTP that was due here."""


class RemoteProtocolError(ProtocolError):
    """The other side broke the protocol."""


class LocalProtocolError(ProtocolError):
    """We were asked to send something that the protocol can't express."""

    errno = e.EINVAL


# --- the cable ----------------------------------------------------------------


class TransportError(MtpfsError):
    """A transfer failed for a reason that has no class of its own."""


class TransportTimeoutError(TransportError):
    """No byte moved within the transfer's timeout. Nothing is lost by trying again. Programs see EIO."""

    errno = e.ETIMEDOUT


class TransportStallError(TransportError):
    """The endpoint is halted (EPIPE): clear the halt before using it again."""


class TransportGoneError(TransportError):
    """The device left the bus."""

    errno = e.ENODEV


class StoppedError(TransportError):
    """The caller gave the transfer up, inside its data phase."""

    errno = e.EINTR


class SessionLostError(TransportGoneError):
    """There is another session now, and the object handles are of an earlier one."""


# --- the device's answers -----------------------------------------------------


class ResponseError(MtpfsError):
    """The responder answered an operation with a code other than OK.

    `errno` comes from `RESPONSE_ERRNO`, EIO for other codes. Callers that
    know more about what they asked may raise an `FsError` instead.
    """

    def __init__(self, operation: int, code: int) -> None:
        self.operation = operation
        self.code = code
        super().__init__(f"{name_of(Operation, operation)}: {name_of(Response, code)}")

    @property
    def errno(self) -> int:  # type: ignore[override]
        return RESPONSE_ERRNO.get(self.code, e.EIO)


def name_of(enum: type[Operation | Response], code: int) -> str:
    """`GetObjectInfo`, or `0x1234` for a code that the enumeration lacks."""
    try:
        return enum(code).name
    except ValueError:
        return f"0x{code:04X}"


RESPONSE_ERRNO: dict[int, int] = {
    Response.OperationNotSupported: e.EOPNOTSUPP,
    Response.ParameterNotSupported: e.EINVAL,
    Response.InvalidStorageID: e.ENOENT,
    Response.InvalidObjectHandle: e.ENOENT,
    Response.DevicePropNotSupported: e.EOPNOTSUPP,
    Response.InvalidObjectFormatCode: e.EINVAL,
    Response.StoreFull: e.ENOSPC,
    Response.ObjectWriteProtected: e.EACCES,
    Response.StoreReadOnly: e.EROFS,
    Response.AccessDenied: e.EACCES,
    Response.NoThumbnailPresent: e.ENODATA,
    Response.StoreNotAvailable: e.ENODEV,
    Response.SpecificationByFormatUnsupported: e.EOPNOTSUPP,
    Response.DeviceBusy: e.EBUSY,
    Response.InvalidParentObject: e.ENOTDIR,
    Response.InvalidParameter: e.EINVAL,
    Response.SpecificationOfDestinationUnsupported: e.EINVAL,
    Response.InvalidCodeFormat: e.EINVAL,
    Response.InvalidDevicePropFormat: e.EINVAL,
    Response.InvalidDevicePropValue: e.EINVAL,
    Response.UnknownVendorCode: e.EOPNOTSUPP,
    Response.InvalidObjectPropCode: e.EOPNOTSUPP,
    Response.InvalidObjectPropFormat: e.EINVAL,
    Response.InvalidObjectPropValue: e.EINVAL,
    Response.GroupNotSupported: e.EOPNOTSUPP,
    Response.InvalidDataset: e.EINVAL,
    Response.SpecificationByGroupUnsupported: e.EOPNOTSUPP,
    Response.SpecificationByDepthUnsupported: e.EOPNOTSUPP,
    Response.ObjectTooLarge: e.EFBIG,
    Response.ObjectPropNotSupported: e.EOPNOTSUPP,
}
