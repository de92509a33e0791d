"""gio, sed and touch: what file managers and shells do."""

from __future__ import annotations

from pathlib import Path

from mount.conftest import Mount, run, virtual_mount, wait_until
from programs.conftest import contents, dates, program


def test_gio_onto_the_phone(mounted: Mount, tree: Path) -> None:
    """gio copy brings files over, and the mount shows their dates, which gio sets when they are there already."""
    for path in sorted((tree / "photos").glob("*.dat")):
        program("gio", "copy", path, mounted.root)
    there = {name: digest for name, digest in contents(tree / "photos").items() if "/" not in name}
    assert contents(mounted.phone) == there
    assert dates(mounted.root) == {
        name: date for name, date in dates(tree / "photos").items() if name in there
    }


def test_gio_over_a_file(mounted: Mount, tree: Path) -> None:
    """gio copy over a file replaces it, with its date, and gio copy -b keeps the old one."""
    old, new = tree / "511 bytes.dat", tree / "70001 bytes.dat"
    program("gio", "copy", old, mounted.root / "file")
    program("gio", "copy", new, mounted.root / "file")
    program("cmp", new, mounted.phone / "file")
    assert (mounted.root / "file").stat().st_mtime == new.stat().st_mtime_ns // 10**9
    program("gio", "copy", "-b", old, mounted.root / "file")
    program("cmp", old, mounted.phone / "file")
    program("cmp", new, mounted.phone / "file~")


def test_gio_save(mounted: Mount) -> None:
    """gio save, which is how GNOME's programs save, replaces a file's contents and leaves nothing else behind."""
    for text in ("first", "second and longer", "third"):
        program("sh", "-c", 'printf %s "$1" | gio save "$2"', "sh", text, mounted.root / "notes.txt")
        assert (mounted.phone / "notes.txt").read_text() == text
        assert (mounted.root / "notes.txt").read_text() == text
    assert [path.name for path in mounted.phone.iterdir()] == ["notes.txt"]


def test_gio_move_and_remove(mounted: Mount) -> None:
    """gio renames, moves and removes."""
    program("gio", "mkdir", mounted.root / "folder")
    (mounted.root / "file.txt").write_text("text")
    program("gio", "rename", mounted.root / "file.txt", "other.txt")
    program("gio", "move", mounted.root / "other.txt", mounted.root / "folder/other.txt")
    assert (mounted.phone / "folder/other.txt").read_text() == "text"
    program("gio", "remove", mounted.root / "folder/other.txt", mounted.root / "folder")
    assert list(mounted.phone.iterdir()) == []


def test_gio_from_the_phone(filled: Mount, tmp_path: Path) -> None:
    """gio copy brings files from the phone with their dates."""
    back = tmp_path / "back"
    back.mkdir()
    for path in sorted((filled.root / "tree/photos").glob("*.dat")):
        program("gio", "copy", path, back)
    there = filled.phone / "tree/photos"
    assert contents(back) == {name: digest for name, digest in contents(there).items() if "/" not in name}
    assert dates(back) == {name: date for name, date in dates(there).items() if "/" not in name}


def test_gio_trash(mounted: Mount) -> None:
    """gio trash is refused, which is where file managers offer to delete; nothing appears on the phone."""
    (mounted.phone / "photo.jpg").write_text("photo")
    one = mounted.mountpoint.with_name("one storage")
    one.mkdir()
    with virtual_mount(mounted.phone, one, mounted.words, "-o", f"storage={mounted.root.name}"):
        for root in (mounted.root, one):
            assert run("gio", "trash", root / "photo.jpg", check=False).returncode == 1
            assert [path.name for path in mounted.phone.iterdir()] == ["photo.jpg"]


def test_sed_in_place(mounted: Mount) -> None:
    """sed -i changes a file, and leaves nothing else behind."""
    (mounted.root / "notes.txt").write_text("old\n" * 1000)
    program("sed", "-i", "s/old/new and longer/", mounted.root / "notes.txt")
    assert (mounted.phone / "notes.txt").read_text() == "new and longer\n" * 1000
    program("sed", "-i.bak", "s/new and longer/x/", mounted.root / "notes.txt")
    assert (mounted.phone / "notes.txt").read_text() == "x\n" * 1000
    assert (mounted.phone / "notes.txt.bak").read_text() == "new and longer\n" * 1000
    assert sorted(path.name for path in mounted.phone.iterdir()) == ["notes.txt", "notes.txt.bak"]


def test_touch_dates_a_new_file(mounted: Mount) -> None:
    """touch -d makes an empty file with a date, on the mount and on the phone."""
    program("touch", "-d", "@1500000000", mounted.root / "new")
    assert (mounted.root / "new").stat().st_mtime == 1_500_000_000
    wait_until(
        (mounted.phone / "new").exists, "the arrival of the file"
    )  # a program's end doesn't wait for it
    assert (mounted.phone / "new").stat().st_mtime == 1_500_000_000


def test_touch_dates_an_old_file(mounted: Mount) -> None:
    """touch -d gives a file that is there already a date, which the mount shows."""
    (mounted.root / "old").write_text("old")
    program("touch", "-d", "@1500000000", mounted.root / "old")
    assert (mounted.root / "old").stat().st_mtime == 1_500_000_000
    assert (mounted.root / "old").read_text() == "old"
