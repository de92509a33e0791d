"""Files that are sent when they get their name: those that programs write under a temporary one.

A program that copies a file with its date writes it under another name, closes it, sets the date by that name and
renames it. Android takes a date only together with the contents. So such a file is best sent when it is renamed.
Its date is known by then. It is sent only once, also where a device refuses renames. And an error still reaches the
program, as the rename's.

But then close says 0 for contents that are saved nowhere yet. So the name alone doesn't decide: `.bashrc.backup`
looks like one of rsync's, and no rename ever comes for it. How the file was created must fit too. FUSE tells both:
CREATE carries the open flags with O_EXCL (Linux fs/fuse/dir.c, fuse_create_open, clears no more than O_NOCTTY),
and the mode with the caller's umask taken off, because we don't ask for FUSE_DONT_MASK. Measured on Linux 6.18:
mkstemp arrives as O_EXCL and 0100600, open(…, 0666) as 0100644.

The table leaves out programs that gain nothing from a held file. Some set the date while the file is open, and it
travels with the contents then (KIO's copy to NAME.part, cp, tar). Some set it after the rename (KIO's put). Some use
no temporary name (GIO for a new file, unzip, lftp unless told so). Late dates are remembered (`remembered`).

Invariant: only regular expressions and numbers here. What waits, and how long, is decided elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PERMISSIONS = 0o7777  # without the kind of file, which FUSE gives in the same number


@dataclass(frozen=True, slots=True)
class Program:
    """One program's temporary files: what they are called, and how they are created."""

    program: str
    pattern: re.Pattern[bytes]
    """Of the whole name."""
    exclusive: bool
    """Whether they are created with O_EXCL. A file that was created the other way isn't one."""
    needs: int
    """Permissions that they always have once the umask is off."""
    allows: int
    """All permissions that they may have."""
    source: str
    """Where it was read: project and version or date, file, function."""

    def made(self, name: bytes, *, exclusive: bool, mode: int) -> bool:
        """Tell whether this program may have made the file."""
        permissions = mode & _PERMISSIONS
        return (
            exclusive == self.exclusive
            and permissions & self.needs == self.needs
            and not permissions & ~self.allows
            and self.pattern.fullmatch(name) is not None
        )


def _names(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)  # a name may have a line feed in it


PROGRAMS = (
    Program(
        program="rsync",
        # mkstemp's letters. A dot that the name starts with isn't doubled, and one at its end is dropped.
        pattern=_names(rb"\..+\.[A-Za-z0-9]{6}"),
        exclusive=True,
        # mkstemp gives 0600. From 3.5.0 on it is the source's mode, of the owner's bits only:
        # 0700 for a program. For a source that its owner may not read it is 0200.
        needs=0o200,
        allows=0o700,
        source="rsync 3.5.0, receiver.c: get_tmpname, open_tmpfile; syscall.c: do_mkstemp, do_mkstemp_atfd; "
        "rsync.c: finish_transfer sets the date before the rename; 3.5.0 seen on a mount",
    ),
    Program(
        program="unison",
        # .unison.NAME.HASH.unison.tmp, and .unison.NAME..001..HASH.unison.tmp if that is taken.
        pattern=_names(rb"\.unison\..+\.[0-9a-f]{32}\.unison\.tmp"),
        exclusive=True,
        needs=0o600,
        allows=0o666,  # 0600, and with dontchmod (as fat sets it) what the umask leaves of 0666
        source="unison of 2026-04, src/os.ml: genTempPath; src/update.ml: archiveHash, addHashToTempNames; "
        "src/copy.ml: openFileOut', setFileinfo before src/files.ml: renameLocal",
    ),
    Program(
        program="syncthing",
        # It sets the date right after the rename. Its file is held for the sake of devices that
        # refuse renames, where it would have to be sent twice.
        pattern=_names(rb"(?:\.syncthing\.|~syncthing~).+\.tmp"),
        exclusive=True,
        needs=0o600,
        allows=0o777,
        source="syncthing of 2026-08, lib/fs/tempname.go: TempNameWithPrefix; "
        "lib/model/sharedpullerstate.go: tempFileInWritableDir; lib/model/folder_sendrecv.go: performFinish",
    ),
    Program(
        program="rclone",
        pattern=_names(
            rb".+\.[0-9a-f]{8}\.partial"
        ),  # the end is --partial-suffix; this is what it is by default
        exclusive=False,
        needs=0o600,
        allows=0o666,
        source="rclone of 2026-08, fs/operations/copy.go: checkPartial, manualCopy; "
        "backend/local/local.go: Update, OpenWriterAt",
    ),
    Program(
        program="FreeFileSync",
        # NAME without its extension, so that nothing is left of .bashrc. Older ones have a dot or a ~ for the -.
        pattern=_names(rb".*[-.~][0-9a-f]{4}\.ffs_tmp"),
        exclusive=True,
        needs=0o200,
        allows=0o777,  # the source's
        source="FreeFileSync of 2026-07, FreeFileSync/Source/afs/abstract.cpp: copyFileTransactional; "
        "zen/file_access.cpp: copyNewFile; zen/file_io.cpp: openHandleForWrite",
    ),
    Program(
        program="Nextcloud and ownCloud",
        pattern=_names(rb"\..+\.~[0-9a-f]{1,8}"),
        exclusive=False,  # QFile's Append, as an interrupted download goes on in the same file
        needs=0o600,
        allows=0o666,
        source="nextcloud/desktop, src/libsync/propagatedownload.cpp: createDownloadTmpFileName, "
        "startDownload, downloadFinished",
    ),
    Program(
        program="mtpfs put",
        pattern=_names(rb"\.mtpfs-put-.+"),
        exclusive=True,
        needs=0o600,
        allows=0o600,
        source="mtpfs.cli.mounted: the date is set before the file is closed, and it is renamed then",
    ),
    Program(
        program="exiftool",
        pattern=_names(rb".+_exiftool_tmp"),
        exclusive=False,
        needs=0o600,
        allows=0o666,
        source="exiftool of 2026-05, exiftool: SetImageInfo sets the date of -P before the rename; "
        "lib/Image/ExifTool/Writer.pl: WriteInfo",
    ),
)


def holds(name: bytes, *, exclusive: bool, mode: int) -> bool:
    """Tell whether a file that is being created will be renamed by the program that writes it.

    `exclusive` is whether O_EXCL is among the flags, and `mode` the one that it is created
    with, both as FUSE has them: with the umask off, and with or without the kind of file.
    """
    return any(program.made(name, exclusive=exclusive, mode=mode) for program in PROGRAMS)
