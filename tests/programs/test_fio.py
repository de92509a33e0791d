"""fio: everything that it writes carries a checksum, and everything that it reads is held against one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mount.conftest import Mount
from programs.conftest import program, put_on_phone

_CHECKED = (
    "--ioengine=psync",
    "--verify=crc32c",
    "--verify_fatal=1",
    "--verify_state_save=0",  # it would leave files in the working directory
    "--fallocate=none",
    "--randseed=1",
)


@pytest.mark.parametrize(("pattern", "block"), [("write", "128k"), ("write", "3k"), ("randwrite", "4k")])
def test_written_blocks_verify(mounted: Mount, pattern: str, block: str) -> None:
    """What is written in blocks, in order or not, is read back with the right checksums."""
    program(
        "fio",
        "--name=verify",
        f"--filename={mounted.root}/file",
        f"--rw={pattern}",
        f"--bs={block}",
        "--size=12m",
        *_CHECKED,
    )
    assert (mounted.phone / "file").stat().st_size == 12 << 20


def test_rewritten_blocks_verify(mounted: Mount) -> None:
    """Reads and writes in random places of a file that is there already give the right checksums."""
    for _ in range(2):
        program(
            "fio",
            "--name=verify",
            f"--filename={mounted.root}/file",
            "--rw=randrw",
            "--bs=4k",
            "--size=6m",
            *_CHECKED,
        )


def test_synced_blocks_verify(mounted: Mount) -> None:
    """An fsync after every few writes changes nothing about the contents."""
    words = ("--rw=randwrite", "--bs=16k", "--size=2m", "--fsync=16", "--end_fsync=1")
    program("fio", "--name=verify", f"--filename={mounted.root}/file", *words, *_CHECKED)


def test_several_writers_verify(mounted: Mount) -> None:
    """Four processes with a file each don't get into each other's way."""
    words = ("--numjobs=4", "--rw=randwrite", "--bs=8k", "--size=3m")
    program("fio", "--name=verify", f"--directory={mounted.root}", *words, *_CHECKED)
    assert {path.stat().st_size for path in mounted.phone.iterdir()} == {3 << 20}


@pytest.mark.parametrize("pattern", ["read", "randread"])
def test_what_is_on_the_phone_verifies(filled: Mount, tmp_path: Path, pattern: str) -> None:
    """Blocks that were written on the phone have the right checksums when they are read through the mount."""
    words = ("--name=verify", "--bs=4k", "--size=6m", *_CHECKED)
    program("fio", *words, f"--filename={tmp_path}/file", "--rw=write", "--do_verify=0")
    put_on_phone(tmp_path / "file", filled)
    program("fio", *words, f"--filename={filled.root}/file", f"--rw={pattern}")
