"""The scenes that are counted: what people do with a phone, each on a phone of its own."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from perf.users import KIB, MIB, User

PHOTO = 3300 * KIB
SMALL = 10_000  # bytes
DATE = 1_700_000_000


@dataclass(frozen=True)
class Scene:
    """One scene. `prepare(phone, files)` makes what it begins with, `play(user, files)` is what is counted."""

    name: str
    play: Callable[[User, int], Awaitable[None]]
    prepare: Callable[[Path, int], None] = lambda _phone, _files: None
    warm: Callable[[User], Awaitable[object]] | None = None
    """What was done before, so that it isn't counted."""
    files: int = 1
    """How many files it is about, or how many lie beside them."""
    per_file: bool = False
    """Count, too, how many steps one more file takes."""


def fill(directory: Path, files: int, size: int = SMALL) -> None:
    """Make files of that size."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        path = directory / f"{number:05}.bin"
        with path.open("wb") as file:
            file.truncate(size)
        os.utime(path, (DATE, DATE))


def large(phone: Path, _files: int) -> None:
    fill(phone, 1, 64 * MIB)


def photos(phone: Path, files: int) -> None:
    fill(phone, files, PHOTO)


def folders(phone: Path, files: int) -> None:
    """Make folders of ten files."""
    for number in range(files // 10):
        fill(phone / f"tree/{number:03}", 10)


def several(phone: Path, files: int) -> None:
    fill(phone, files)


async def looked(user: User) -> None:
    await user.look("")


async def renamed_once(user: User) -> None:
    """Make the index of names, which a listing leaves to the first change."""
    await user.look("")
    await user.rename("00030.bin", "another.bin")


async def nothing(_user: User, _files: int) -> None:
    """The mount alone."""


async def look(user: User, files: int) -> None:
    assert len(await user.look("")) == files


async def find(user: User, _files: int) -> None:
    for name in await user.look("tree"):
        await user.look(f"tree/{name}")


async def read_all(user: User, _files: int) -> None:
    await user.read("00000.bin", (0, 64 * MIB))


async def read_all_at_once(user: User, _files: int) -> None:
    await user.read("00000.bin", (0, 64 * MIB), request=MIB)


async def heads(user: User, _files: int) -> None:
    for name in await user.look(""):
        await user.read(name, (0, MIB))


async def heads_and_tails(user: User, _files: int) -> None:
    for name in await user.look(""):
        await user.read(name, (0, 64 * KIB), (PHOTO - 64 * KIB, 64 * KIB))


async def every_tenth(user: User, _files: int) -> None:
    await user.read("00000.bin", *((number * 10 * MIB, MIB) for number in range(7)))


async def at_random(user: User, _files: int) -> None:
    # Far from each other, and in no order: 7 has no divisor in common with 64.
    await user.read("00000.bin", *((number * 7 % 64 * MIB + 4 * KIB, 4 * KIB) for number in range(50)))


async def copy_out(user: User, _files: int) -> None:
    for name in await user.look(""):
        await user.read(name, (0, SMALL))


async def copy_in(user: User, files: int) -> None:
    await user.make("new")
    for number in range(files):
        await user.write(f"new/{number:05}.bin", SMALL)


async def write_large(user: User, _files: int) -> None:
    await user.write("new.bin", 64 * MIB)


async def rename(user: User, _files: int) -> None:
    for number in range(20):
        await user.rename(f"{number:05}.bin", f"renamed {number:05}.bin")


async def remove_tree(user: User, _files: int) -> None:
    for folder in await user.look("tree"):
        for name in await user.look(f"tree/{folder}"):
            await user.remove(f"tree/{folder}/{name}")
        await user.remove_folder(f"tree/{folder}")
    await user.remove_folder("tree")


MOUNT = "mount"
SCENES = (
    Scene(MOUNT, nothing),
    Scene("ls -l of 1,000 files", look, several, files=1000, per_file=True),
    Scene("find over 200 files in 20 folders", find, folders, files=200, per_file=True),
    Scene("read 64 MiB", read_all, large, looked),
    Scene("read 64 MiB in requests of 1 MiB", read_all_at_once, large, looked),
    Scene("read the first MiB of 10 photos", heads, photos, looked, files=10),
    Scene("read head and tail of 10 photos", heads_and_tails, photos, looked, files=10),
    Scene("read every tenth MiB", every_tenth, large, looked),
    Scene("read 4 KiB at 50 places", at_random, large, looked),
    Scene("copy 100 small files out", copy_out, several, files=100, per_file=True),
    Scene("copy 100 small files in", copy_in, files=100, per_file=True),
    Scene("write 64 MiB", write_large),
    Scene("rename 20 of 100 files", rename, several, renamed_once, files=100, per_file=True),
    Scene("delete a tree of 200 files", remove_tree, folders, files=200, per_file=True),
)
