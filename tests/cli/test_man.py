"""The man pages: well-formed, complete in their sections, and of one mind with the parser."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mtpfs.cli.main import COMMANDS

MAN = Path(__file__).parents[2] / "man"
PAGES = ("mtpfs.1", "mount.mtpfs.8")


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
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "MOUNT OPTIONS", "ENVIRONMENT", "FILES"),
        *("EXIT STATUS", "EXAMPLES", "SEE ALSO", "CAVEATS"),
    } <= set(sections)


def test_commands() -> None:
    """Every command has a synopsis and a description."""
    text = (MAN / "mtpfs.1").read_text()
    for command in COMMANDS:
        assert f".Nm\n.Cm {command}\n" in text
        assert f".It Cm {command}\n" in text
