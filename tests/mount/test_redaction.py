"""`--redact` on a real mount: the whole log of work on telling names, in which none of them stands."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mount.conftest import MTPFS, Mount, run

pytestmark = pytest.mark.mount

SERIAL = "GEHEIM4711"
FOLDER = "Scheidung von Ångström"
FILES = (
    "Diagnose Müller.pdf",
    "Kontoauszug.xlsx",
    "Tagebuch",
    "Bewerbung: Firma?.doc",
    "秘密の写真.jpg",
    'Bob\'s "Testament".odt',
    "device",
)
TELLING = (
    "Scheidung",
    "ngstr",
    "Diagnose",
    "ller",
    "Kontoauszug",
    "Tagebuch",
    "Bewerbung",
    "Firma",
    "秘密",
    "Testament",
)


def work(mount: Mount) -> None:
    """Do what a person does, and what is refused."""
    folder = mount.root / FOLDER
    folder.mkdir()
    for name in FILES:
        with contextlib.suppress(OSError):  # a card refuses some
            (folder / name).write_bytes(name.encode() * 1000)
    kept = sorted(os.listdir(folder))
    assert len(kept) > 3
    for name in kept:
        assert (folder / name).read_bytes() == name.encode() * 1000
        (folder / name).write_bytes(b"other contents")
        with contextlib.suppress(OSError):
            (folder / name).rename(folder / f"Alt {name}")
    with pytest.raises(OSError, match="Tagebuch Nummer zwei"):
        (folder / "Tagebuch Nummer zwei").read_bytes()
    with pytest.raises(OSError, match=r"Invalid|illegal"):
        Path(os.fsdecode(os.fsencode(folder) + b"/Kontoauszug\xff.xlsx")).write_bytes(b"")
    with pytest.raises(OSError, match="not empty"):
        folder.rmdir()
    shutil.rmtree(folder)


@pytest.mark.parametrize("words", ["", "as=sailfish", "as=umtp", "storages=2", "no-move&no-rename"])
def test_log(mount_phone: Callable[..., Mount], words: str) -> None:
    """Neither a file's name nor the serial number nor the storage's name is in the log; the errors are."""
    mount = mount_phone(f"{words}&serial={SERIAL}", "-d", "--redact", "-o", "debug")
    storage = mount.root.name
    work(mount)
    log = mount.unmount().replace(
        str(mount.phone), ""
    )  # the virtual phone's place on this machine is no secret
    for telling in (*TELLING, storage, SERIAL):
        assert telling not in log
    for name in FILES:
        assert name == "device" or name not in log
    assert re.search(r"lookup /name-[0-9a-f]{8}/name-[0-9a-f]{8}/name-[0-9a-f]{8}: ", log)
    assert re.search(r"create /name-\S+/name-\S+/name-[0-9a-f]{8}.xlsx: ", log)
    assert "GetObjectHandles" in log


def test_names_without(mount_phone: Callable[..., Mount]) -> None:
    """Without `--redact` every error names the file: in the same work all names are in the log."""
    mount = mount_phone("", "-d")
    work(mount)
    log = mount.unmount()
    assert f"lookup /{mount.root.name}/{FOLDER}/Tagebuch Nummer zwei: " in log
    assert f"rmdir /{mount.root.name}/{FOLDER}: " in log


def test_commands(mount_phone: Callable[..., Mount], tmp_path: Path) -> None:
    """`info`, of a mount and of a phone, `doctor` and `stats` hide what the log hides, by the same hashes."""
    mount = mount_phone(f"serial={SERIAL}", "-o", "fsname=phone")  # else its source has the serial number
    storage = mount.root.name
    plain = run(*MTPFS, "info", mount.mountpoint).stdout
    assert storage in plain
    assert SERIAL in plain
    spare = tmp_path / "spare"
    spare.mkdir()
    source = f"virtual:{spare}?serial={SERIAL}"
    commands = (
        ("info", mount.mountpoint),
        ("info", source),
        ("info", source, "--json"),
        ("doctor", source),
        ("stats", mount.mountpoint),
    )
    hashes = set()
    for words in commands:
        said = run(*MTPFS, *words, "--redact", check=False).stdout
        assert storage not in said
        assert SERIAL not in said
        hashes |= set(re.findall(r"serial-[0-9a-f]{8}", said))
    assert len(hashes) == 1 or not Path("/etc/machine-id").exists()
