"""The man pages: well-formed, complete in their sections, and of one mind with the parser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtpfs.cli.main import COMMANDS, FILE_COMMANDS, OWN_PAGES

MAN = Path(__file__).parents[2] / "man"
PAGES = ("mtpfs.1", "mtpfs-files.1", "mtpfs-import.1", "mount.mtpfs.8")


@pytest.mark.parametrize("page", PAGES)
def test_lint(page: str) -> None:
    """mandoc finds nothing to complain about."""
    if shutil.which("mandoc") is None:
        pytest.skip("no mandoc")
    words = ["mandoc", "-T", "lint", "-W", "style", str(MAN / page)]
    said = subprocess.run(words, check=False, capture_output=True, text=True, timeout=30).stdout
    # Which other pages there are is this machine's affair.
    assert [line for line in said.splitlines() if not re.search(r"mandoc\.db|manual not found", line)] == []


@pytest.mark.parametrize("page", PAGES)
def test_sections(page: str) -> None:
    """Everything that one looks for in a man page is there."""
    text = (MAN / page).read_text()
    sections = re.findall(r"^\.Sh (.*)$", text, re.MULTILINE)
    assert {
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES"),
        *("EXIT STATUS", "EXAMPLES", "SEE ALSO", "CAVEATS"),
    } <= set(sections)
    assert ("MOUNT OPTIONS" in sections) == (page in {"mtpfs.1", "mount.mtpfs.8"})


def test_commands() -> None:
    """Every command has a synopsis and a description."""
    text = (MAN / "mtpfs.1").read_text()
    for command in set(COMMANDS) - set(FILE_COMMANDS):
        assert f".Nm\n.Cm {command}\n" in text
        assert f".It Cm {command}\n" in text
    files = (MAN / "mtpfs-files.1").read_text()
    for command in FILE_COMMANDS:
        assert f".Nm mtpfs\n.Cm {command}\n" in files
        assert f".It Cm {command}\n" in files
        assert re.search(rf"\.Cm .*\b{command}\b", text)


@pytest.mark.parametrize("command", OWN_PAGES)
def test_pages_of_their_own(command: str) -> None:
    """The synopsis has the options that the command takes, and no others; each is described."""
    page = (MAN / f"mtpfs-{command}.1").read_text()
    synopsis = page[page.index(".Sh SYNOPSIS") : page.index(".Sh DESCRIPTION")]
    assert f".Nm mtpfs\n.Cm {command}\n" in synopsis
    result = subprocess.run(
        [sys.executable, "-m", "mtpfs", "help", command],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    taken = set(re.findall(r"^ +--([a-z-]+)", result.stdout.partition("options:")[2], re.MULTILINE))
    assert set(re.findall(r"Fl -([a-z-]+)", synopsis)) == taken - {"help"}
    assert set(re.findall(r"^\.It Fl -([a-z-]+)", page, re.MULTILINE)) == taken


@pytest.mark.parametrize("command", FILE_COMMANDS)
def test_options_of_file_commands(command: str) -> None:
    """The synopsis has the letters that the command takes, and no others."""
    files = (MAN / "mtpfs-files.1").read_text()
    synopsis = files[files.index(".Sh SYNOPSIS") : files.index("All take")]
    shown = re.search(rf"\.Cm {command}\n((?:\..*\n)*?)(?:\.Nm|\.Pp)", synopsis)
    assert shown is not None
    letters = set("".join(re.findall(r"\.Op Fl ([a-zA-Z]+)", shown[1])))
    result = subprocess.run(
        [sys.executable, "-m", "mtpfs", "help", command],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    taken = set(re.findall(r"(?:^|, | )-([a-zA-Z])\b", result.stdout.partition("options:")[2], re.MULTILINE))
    assert letters == taken - ({"R"} if "r" in taken else set())
