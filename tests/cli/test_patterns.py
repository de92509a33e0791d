"""What `--exclude` leaves out: against examples, against a model that is written otherwise, and against rsync itself."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mtpfs.cli.patterns import Excludes
from mtpfs.errors import UsageError

PIECES = (
    *("a", "b", "c", ".", "*", "**", "***", "?", "/", r"\*", r"\a"),
    *("[ab]", "[!a]", "[^b-z]", "[]a]", "[b-]", "[[:alpha:].]", "[z-a]", r"[\]a]"),
)
PATTERNS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
PATHS = st.lists(
    st.text("abc.*-]\\\n", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."}),
    min_size=1,
    max_size=4,
).map("/".join)


@pytest.mark.parametrize(
    ("pattern", "excluded", "kept"),
    [
        ("*.tmp", ["a.tmp", "d/.tmp", "d/e/x.tmp"], ["a.tmp2", "a.tmp/x"]),
        ("/a", ["a"], ["d/a", "a/b", "aa"]),
        ("cache/*.db", ["cache/x.db", "d/cache/x.db"], ["x.db", "cache/d/x.db", "mycache/x.db"]),
        ("**/a", ["a", "d/a", "d/e/a"], ["da", "a/d"]),
        ("a/**", ["a/b", "a/b/c", "d/a/b"], ["a", "da/b"]),
        ("a/**/b", ["a/x/b", "a/x/y/b", "d/a/x/b"], ["a/b"]),
        ("/a/**/b", ["a/x/b"], ["d/a/x/b"]),
        ("a?c", ["abc", "d/a.c"], ["a/c", "ac"]),
        ("[a-c]", ["a", "d/c"], ["d", "-"]),
        ("[!a-c]", ["d", "-"], ["a", "bb"]),
        (r"\[a\]*", ["[a]b"], ["a"]),
        (r"a\b", [r"a\b"], ["ab"]),  # without a wildcard a backslash is a backslash
        (".*", [".a", "d/.git"], ["a.b"]),
    ],
)
def test_examples(pattern: str, excluded: list[str], kept: list[str]) -> None:
    """A pattern is about names, the ends of paths, or whole paths."""
    excludes = Excludes([pattern])
    for is_dir in (False, True):
        assert [path for path in excluded + kept if excludes(path, is_dir=is_dir)] == excluded


def test_directories() -> None:
    """A slash at the end means directories; `***` a directory and what is in it."""
    for pattern, is_dir in itertools.product(("a/", "/a/", "*/", "**/"), (True, False)):
        assert Excludes([pattern])("a", is_dir=is_dir) == is_dir
    excludes = Excludes(["d/***"])
    assert excludes("d", is_dir=True)
    assert excludes("d/e/f", is_dir=False)
    assert not excludes("d", is_dir=False)


def test_several() -> None:
    """One of them is enough; none leaves out nothing."""
    excludes = Excludes(["/a", "b/", "*.c"])
    assert [path for path in ("a", "x/a", "b", "x.c") if excludes(path, is_dir=False)] == ["a", "x.c"]
    assert not Excludes([])("a", is_dir=True)


@pytest.mark.parametrize(
    "pattern", ["", "/", "[", "a[b", "[]", "[!]", "[a-", "[\\", "*\\", "[[:letters:]]", "[[:alpha:]"]
)
def test_mistakes(pattern: str) -> None:
    """What means nothing is refused, instead of leaving out nothing."""
    with pytest.raises(UsageError):
        Excludes([pattern])


# --- a model -------------------------------------------------------------------------


def matches(pattern: str, text: str) -> bool:
    """Match by recursion, a character at a time, as wildmatch does."""
    if not pattern:
        return not text
    head = pattern[0]
    if head == "*":
        rest = pattern.lstrip("*")
        crosses = len(pattern) - len(rest) > 1
        for end in range(len(text) + 1):
            if matches(rest, text[end:]):
                return True
            if end < len(text) and text[end] == "/" and not crosses:
                return False
        return False
    if not text:
        return False
    if head == "?":
        return text[0] != "/" and matches(pattern[1:], text[1:])
    if head == "[":
        is_in, rest = in_brackets(pattern[1:], text[0])
        return is_in and text[0] != "/" and matches(rest, text[1:])
    if head == "\\":
        pattern = pattern[1:]
    return pattern[0] == text[0] and matches(pattern[1:], text[1:])


def in_brackets(pattern: str, character: str) -> tuple[bool, str]:
    negated = pattern[0] in "!^"
    pattern = pattern[negated:]
    found, position = False, 0
    while position == 0 or pattern[position] != "]":
        if pattern.startswith("[:alpha:]", position):
            found |= character.isascii() and character.isalpha()
            position += len("[:alpha:]")
            continue
        position += pattern[position] == "\\"
        low = high = pattern[position]
        position += 1
        if pattern[position] == "-" and pattern[position + 1] != "]":
            position += 1 + (pattern[position + 1] == "\\")
            high = pattern[position]
            position += 1
        found |= low <= character <= high
    return found != negated, pattern[position + 1 :]


def model(pattern: str, path: str, *, is_dir: bool) -> bool:
    """Tell what rsync's manual says, with lists of candidates in place of an expression."""
    if pattern.endswith("/"):
        if not is_dir:
            return False
        pattern = pattern[:-1]
    if not set(pattern) & set("*?["):
        pattern = pattern.replace("\\", "\\\\")
    parts = path.split("/")
    ends = ["/".join(parts[index:]) for index in range(len(parts))]
    if pattern.startswith("/"):
        candidates = [path]
        pattern = pattern[1:]
    elif pattern.startswith("**"):
        candidates = [f"/{path}"]
    elif "**" in pattern:
        candidates = ends
    else:
        count = pattern.count("/") + 1
        candidates = ends[-count:][:1] if count <= len(parts) else []
    if is_dir and pattern.endswith("***"):
        candidates = [f"{candidate}/" for candidate in candidates]
    return any(matches(pattern, candidate) for candidate in candidates)


@settings(max_examples=1000, deadline=None)
@given(pattern=PATTERNS, path=PATHS, is_dir=st.booleans())
@example(pattern="**/***", path="a", is_dir=True)
@example(pattern="a***", path="a", is_dir=True)
@example(pattern="[!a]", path="\n", is_dir=False)
def test_model(pattern: str, path: str, is_dir: bool) -> None:
    """Any pattern leaves out what the model does."""
    try:
        excludes = Excludes([pattern])
    except UsageError:
        assert pattern in {"/", "//"}
        return
    assert excludes(path, is_dir=is_dir) == model(pattern, path, is_dir=is_dir), (pattern, path)


# --- rsync ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three levels of directories, with the same names on each."""
    top = tmp_path_factory.mktemp("patterns") / "source"
    for directory in ("", "a", "a/b", "a/ab", "b", "b/a", "b/a/b", "ab", "ab/.c", "ab/a", "a/b/a", "a/b/a/b"):
        (top / directory).mkdir(parents=True, exist_ok=True)
        for name in ("c", ".a", "ab.c", "b-", "a]"):
            if not (top / directory / name).exists():
                (top / directory / name).touch()
    return top


def left(directory: Path, top: Path, excludes: Excludes) -> Iterator[str]:
    """Yield what isn't excluded, as rsync names it: what is in an excluded directory is never asked about."""
    for entry in directory.iterdir():
        path, is_dir = str(entry.relative_to(top)), entry.is_dir()
        if not excludes(path, is_dir=is_dir):
            yield path + "/" * is_dir
            if is_dir:
                yield from left(entry, top, excludes)


@settings(max_examples=150, deadline=None)
@given(st.lists(PATTERNS, min_size=1, max_size=2))
def test_rsync(tree: Path, patterns: list[str]) -> None:
    """rsync leaves out the same."""
    if shutil.which("rsync") is None:
        pytest.skip("no rsync")
    try:
        excludes = Excludes(patterns)
    except UsageError:
        return
    words = [
        "rsync",
        "-rn",
        "--out-format=%n",
        *(f"--exclude={each}" for each in patterns),
        f"{tree}/",
        f"{tree}.none",
    ]
    said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
    assert sorted(left(tree, tree, excludes)) == sorted(set(said.splitlines()) - {"./"}), patterns
