"""The first words that somebody types: in any order, and each mistake is one line that helps."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from mount.conftest import HAS_FUSE, MTPFS, run, unmounted, wait_until
from mtpfs.cli.main import COMMANDS

STORAGE = "Internal shared storage"


def said(*words: str | Path, cwd: Path | None = None) -> str:
    """Return the one line on stderr of a call that has to fail with status 1."""
    result = run(*MTPFS, *words, check=False, cwd=cwd)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(r"mtpfs: [^\n]+\n", result.stderr), result.stderr
    return result.stderr


@pytest.mark.skipif(not HAS_FUSE, reason="no FUSE")
@pytest.mark.parametrize(
    "words",
    [
        ("SOURCE", "-o", "ro", "MOUNTPOINT"),
        ("-o", "ro", "SOURCE", "MOUNTPOINT"),
        ("SOURCE", "MOUNTPOINT", "-o", "ro"),
        ("SOURCE", "-o", "ro", "--", "MOUNTPOINT"),
        ("-s", "SOURCE", "--redact", "MOUNTPOINT", "-oro"),
    ],
)
def test_any_order(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Options may stand before, between and behind the arguments."""
    (tmp_path / "phone").mkdir()
    (tmp_path / "m").mkdir()
    places = {"SOURCE": f"virtual:{tmp_path}/phone", "MOUNTPOINT": f"{tmp_path}/m"}
    run(*MTPFS, *(places.get(word, word) for word in words))
    try:
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "m" / STORAGE / "f").touch()
    finally:
        wait_until(lambda: unmounted(tmp_path / "m"), "the unmount")


@pytest.mark.skipif(not HAS_FUSE, reason="no FUSE")
def test_a_directory_with_the_name_of_a_command(tmp_path: Path) -> None:
    """`list` is the command, `./list` a directory."""
    for name in ("list", "phone"):
        (tmp_path / name).mkdir()
    run(*MTPFS, "virtual:phone", "./list", cwd=tmp_path)
    try:
        assert os.listdir(tmp_path / "list") == [STORAGE]
        assert "is a command" in said("-f", "list", cwd=tmp_path)
    finally:
        wait_until(lambda: unmounted(tmp_path / "list"), "the unmount")


def test_help() -> None:
    """`mtpfs help` is `mtpfs --help`, and `mtpfs help COMMAND` that of the command."""
    assert run(*MTPFS, "help").stdout == run(*MTPFS, "--help").stdout
    for command in COMMANDS:
        text = run(*MTPFS, "help", command).stdout
        assert text == run(*MTPFS, command, "--help").stdout
        assert text.startswith(f"usage: mtpfs {command}")
    assert "there is no command `nonsense`" in said("help", "nonsense")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "where to mount it is missing: `mtpfs DIRECTORY`"),
        (("-f",), "where to mount it is missing: `mtpfs DIRECTORY`"),
        (("any",), "where to mount it is missing: `mtpfs any DIRECTORY`"),
        (("serial:X1", "-f"), "where to mount it is missing: `mtpfs serial:X1 DIRECTORY`"),
        (("m", "any"), "the source comes first: `mtpfs any m`"),
        (("./m", "-f", "virtual:phone"), "the source comes first: `mtpfs virtual:phone ./m`"),
        (("any", "m", "ro"), "'ro' is one argument too many; mount options stand behind -o"),
        (("--in", "m", "any", "m"), "'m' is one argument too many; with --in there is no mountpoint"),
        (("info", "any", "m"), "unrecognized arguments: m; see `mtpfs info --help`"),
        (("list", "any"), "unrecognized arguments: any; see `mtpfs list --help`"),
        (("stats",), "the following arguments are required: MOUNTPOINT; see `mtpfs stats --help`"),
        (("any", "m", "-o"), "argument -o: expected one argument"),
    ],
)
def test_mistakes(tmp_path: Path, words: tuple[str, ...], line: str) -> None:
    """What is missing, swapped or too much is said in one line, with the right words."""
    (tmp_path / "m").mkdir()
    assert line in said(*words, cwd=tmp_path)


def test_reader_that_has_enough() -> None:
    """`mtpfs help | head -1`: the end of the reader ends the writer without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        result = subprocess.run(
            [*MTPFS, "help"], check=False, stdout=pipe, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (result.returncode, result.stderr) == (141, "")


def test_output_that_fails() -> None:
    """An output that can't be written is said in one line."""
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*MTPFS, "help"], check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (result.returncode, result.stderr) == (
        1,
        "mtpfs: the output can't be written: No space left on device\n",
    )


def test_mistyped_command(tmp_path: Path) -> None:
    """A word that is much like a command isn't taken for a directory that is missing; one that is there is."""
    assert (
        said("lss", cwd=tmp_path)
        == "mtpfs: lss: neither a directory nor a command; did you mean `mtpfs ls`?\n"
    )
    assert "no such directory" in said("./lss", cwd=tmp_path)
    (tmp_path / "lss").write_bytes(b"")
    assert "not a directory" in said("lss", cwd=tmp_path)
