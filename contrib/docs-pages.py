"""The pages of the documentation that are written elsewhere; mkdocs calls this (see mkdocs.yml).

README.md is the user guide; CONTRIBUTING.md, SECURITY.md and CHANGELOG.md are pages as they are. The man pages are
rendered by mandoc. contrib/quirks-page makes the page on quirks from the source.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

TOP = Path(__file__).parents[1]
TEXTS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
MAN_PAGES = ("mtpfs.1", "mtpfs-files.1", "mtpfs-import.1", "mount.mtpfs.8")
ELSEWHERE = "https://manpages.debian.org/%N.%S"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, page in TEXTS.items():
        files.append(File.generated(config, page, content=_text(TOP / name)))
    for name in MAN_PAGES:
        files.append(File.generated(config, f"{name}.md", content=_man_page(name)))
    files.append(File.generated(config, "quirks.md", content=_output("contrib/quirks-page")))
    return files


def _text(path: Path) -> str:
    """Return a text whose links to others of the repository lead to their pages."""

    def page(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        return f"]({TEXTS.get(target, target.removeprefix('docs/'))}{anchor})"

    return re.sub(r"\]\(([\w./-]+\.(?:md|svg|png))(#[\w-]+)?\)", page, path.read_text())


def _man_page(name: str) -> str:
    """Render a man page. Its references lead to our own pages, or to Debian's."""
    # In its own directory mandoc finds out which pages are ours.
    options = f"fragment,man=%N.%S.html;{ELSEWHERE}"
    html = _output("mandoc", "-T", "html", "-O", options, name, directory=TOP / "man")
    html = re.sub(r'<table class="(head|foot)">.*?</table>', "", html, flags=re.DOTALL)
    html = re.sub(r"(</?h)([12])\b", lambda match: f"{match[1]}{int(match[2]) + 1}", html)
    title, _, section = name.rpartition(".")
    return f"# {title}({section})\n\n<div>\n{html}</div>\n"


def _output(*words: str, directory: Path = TOP) -> str:
    return subprocess.run(words, cwd=directory, check=True, stdout=subprocess.PIPE, text=True).stdout
