"""What an MTP phone of PyPI `usbip` serves: a directory, as that package wants its storage."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

VENDOR_ID, PRODUCT_ID = 0x1209, 0x4D54


class Store:
    """A directory, as `usbip`'s MTP class wants its storage."""

    read_only = False
    description = "Directory"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def listdir(self, path: str) -> list[str]:
        return os.listdir(self._directory / path)

    def stat(self, path: str) -> tuple[bool, int, float]:
        status = (self._directory / path).stat()
        return (self._directory / path).is_dir(), status.st_size, status.st_mtime

    def read(self, path: str, offset: int = 0, size: int | None = None) -> bytes:
        with (self._directory / path).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if size is None else size)

    def write(self, path: str, data: bytes) -> None:
        (self._directory / path).write_bytes(data)

    def pwrite(self, path: str, offset: int, data: bytes) -> None:
        with (self._directory / path).open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self._directory / path, size)

    def mkdir(self, path: str) -> None:
        (self._directory / path).mkdir()

    def remove(self, path: str) -> None:
        if (self._directory / path).is_dir():
            shutil.rmtree(self._directory / path)
        else:
            (self._directory / path).unlink()

    def rename(self, old: str, new: str) -> None:
        (self._directory / old).rename(self._directory / new)

    def disk_usage(self) -> tuple[int, int]:
        return 1 << 30, 1 << 29
