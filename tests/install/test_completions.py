"""Completions: the same words as the parser, in three shells; bash's is really run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtpfs.cli.main import COMMANDS
from mtpfs.cli.options import OPTIONS

DIRECTORY = Path(__file__).parents[2] / "contrib/completions"
SHELLS = {"bash": "mtpfs.bash", "zsh": "_mtpfs", "fish": "mtpfs.fish"}
WORDBREAKS = " \t\n\"'><=;|&(:"  # bash's default
WORDS = {option.name + ("=" if option.value else "") for option in OPTIONS}


def complete(line: str, directory: Path) -> list[str]:
    """Return what bash offers for a line with the cursor at its end, split into words as readline does it."""
    words: list[str] = re.findall(r"[=:]+|[^\s=:]+|(?<=\s)$", line)
    if line.endswith(("=", ":")):
        words.append("")
    script = (
        f"source {shlex.quote(str(DIRECTORY / 'mtpfs.bash'))}\n"
        f"COMP_WORDBREAKS={shlex.quote(WORDBREAKS)}\n"
        f"COMP_WORDS=({shlex.join(words)})\nCOMP_CWORD={len(words) - 1}\n"
        f"COMP_LINE={shlex.quote(line)}\nCOMP_POINT={len(line)}\n"
        # Standard error as well: completion must not scribble over the line.
        "_mtpfs mtpfs 2>&1; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    path = f"{directory}/bin:{Path(sys.executable).parent}:/usr/bin:/bin"
    result = subprocess.run(
        ["bash", "--norc", "-c", script],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=directory,
        env={"PATH": path},
    )
    return sorted(filter(None, result.stdout.splitlines()))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with two directories and a file, and an mtpfs that lists two phones."""
    for name in ("mount", "my phone", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    program = tmp_path / "bin/mtpfs"
    program.write_text(
        '#!/bin/sh\necho \'{\n  "devices": [{\n      "source": "serial:R58M",\n      "bus": 1},'
        '\n      {"bus": 2,\n      "source": "bus:001,005",\n      "x": 1}]}\'\n'
    )
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mtpfs l", ["list", "ls"]),
        ("mtpfs do", ["doctor"]),
        ("mtpfs m", ["mkdir", "mount", "mv", "my phone"]),
        ("mtpfs s", ["serial:R58M", "stat", "stats", "sync"]),
        ("mtpfs sync m", ["mount", "my phone"]),
        ("mtpfs sync --d", ["--delete", "--dry-run"]),
        ("mtpfs ge", ["get"]),
        ("mtpfs im", ["import"]),
        ("mtpfs import m", ["mount", "my phone"]),
        ("mtpfs import --d", ["--delete", "--dry-run"]),
        ("mtpfs import --source a", ["any"]),
        ("mtpfs get DCIM f", ["file"]),
        ("mtpfs put m", ["mount", "my phone"]),
        ("mtpfs rm f", []),
        ("mtpfs ls --j", ["--json"]),
        ("mtpfs cat --j", []),
        ("mtpfs mkdir -", ["--help", "--json", "--redact", "--source", "-p"]),
        ("mtpfs get --source serial:", ["R58M"]),
        ("mtpfs --source v", ["virtual:"]),
        ("mtpfs info --source a", ["any"]),
        ("mtpfs serial:", ["R58M"]),
        ("mtpfs serial:R", ["R58M"]),
        ("mtpfs bus:0", ["001,005"]),
        ("mtpfs v", ["virtual:"]),
        ("mtpfs virtual:m", ["mount", "my phone"]),
        ("mtpfs any m", ["mount", "my phone"]),
        ("mtpfs -f any a", []),
        ("mtpfs --in m", ["mount", "my phone"]),
        ("mtpfs --in mount a", ["any"]),
        ("mtpfs --v", ["--version"]),
        ("mtpfs any mount -o uma", ["umask="]),
        ("mtpfs any mount -o ro,uid=1000,allow_o", ["1000,allow_other"]),
        ("mtpfs -o ro,uid=roo", ["root"]),
        ("mtpfs -o gid=roo", ["root"]),
        ("mtpfs list --j", ["--json"]),
        ("mtpfs list ", []),
        ("mtpfs info a", ["any"]),
        ("mtpfs info serial:", ["R58M"]),
        ("mtpfs doctor any m", ["mount", "my phone"]),
        ("mtpfs doctor m", ["mount", "my phone"]),
        ("mtpfs info m", []),
        ("mtpfs um", ["umount"]),
        ("mtpfs umount m", []),
        ("mtpfs umount --r", ["--redact"]),
        ("mtpfs help do", ["doctor"]),
        ("mtpfs help list l", []),
    ],
)
def test_bash(place: Path, line: str, offered: list[str]) -> None:
    """Commands, devices, directories, flags and options are offered where they belong."""
    assert complete(line, place) == offered


def test_bash_first_word(place: Path) -> None:
    """At the start everything that may come first is offered."""
    offered = complete("mtpfs ", place)
    assert {*COMMANDS, "any", "virtual:", "serial:R58M", "bus:001,005", "mount", "my phone"} <= set(offered)


def test_bash_options_are_the_parsers(place: Path) -> None:
    """After -o exactly the options of the table are offered, also behind a comma."""
    assert set(complete("mtpfs -o ", place)) == WORDS
    assert set(complete("mtpfs -o ro,", place)) == {f"ro,{word}" for word in WORDS}


@pytest.mark.parametrize(
    ("shell", "pattern"), [("zsh", r"^ +'(\w+)\["), ("fish", r"(?<![\w-])(\w+=?)\\t['\"]")]
)
def test_others_options_are_the_parsers(shell: str, pattern: str) -> None:
    """The lists for zsh and fish hold exactly the options of the table."""
    text = (DIRECTORY / SHELLS[shell]).read_text()
    start = text.index("_values -s ," if shell == "zsh" else 'printf "$before')
    block = text[start : text.index("}" if shell == "zsh" else "\nend", start)]
    assert set(re.findall(pattern, block, re.MULTILINE)) == (
        {word.rstrip("=") for word in WORDS} if shell == "zsh" else WORDS
    )


@pytest.mark.parametrize("file", SHELLS.values())
def test_commands_are_the_programs(file: str) -> None:
    """Every command is known to every shell."""
    text = (DIRECTORY / file).read_text()
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", text)


@pytest.mark.parametrize("shell", SHELLS)
def test_syntax(shell: str) -> None:
    """The shell itself finds no mistake."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    flag = "--no-execute" if shell == "fish" else "-n"
    result = subprocess.run(
        [shell, flag, DIRECTORY / SHELLS[shell]], check=False, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "")
