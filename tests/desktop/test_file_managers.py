"""File managers on a phone that is mounted in the home: what their users do, and what is on the phone afterwards."""

from __future__ import annotations

import os
from pathlib import Path

from desktop.conftest import DATE, STORAGE, Desktop
from mount.conftest import run

TEXT = "what is in it"


def put(directory: Path, name: str = "note.txt") -> Path:
    """Put a file with a date into a directory."""
    path = directory / name
    path.write_text(TEXT)
    os.utime(path, (DATE, DATE))
    return path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_browse(desktop: Desktop) -> None:
    """The phone can be looked at; GLib's programs have it in their sidebar, by its directory's name."""
    window = desktop.window(desktop.mountpoint)
    desktop.picture("phone")
    assert desktop.program("xdotool", "getwindowname", window).startswith(desktop.mountpoint.name)
    if desktop.manager.uses_gio:
        listed = desktop.program("gio", "mount", "-l")
        assert f": {desktop.mountpoint.name} -> file://{desktop.mountpoint}\n" in listed


def test_thumbnails(desktop: Desktop) -> None:
    """Pictures on the phone are shown as pictures."""
    for number in range(3):
        run("convert", "-size", "640x480", "xc:magenta", desktop.phone / f"Inside/IMG_{number}.jpg")
    desktop.window(desktop.root / "Inside")
    desktop.until(lambda: desktop.coloured() > 3 * 400, "the thumbnails")
    desktop.picture("shown")


def test_copy_in(desktop: Desktop) -> None:
    """A file that is copied onto the phone arrives whole, and with its date."""
    desktop.copy(put(desktop.home / "Outside"), desktop.root / "Inside")
    there = desktop.phone / "Inside/note.txt"
    desktop.until(lambda: there.read_text() == TEXT, "the file's contents")
    desktop.until(lambda: (desktop.root / "Inside/note.txt").stat().st_mtime == DATE, "the date's arrival")
    desktop.picture("done")
    assert names(desktop.phone / "Inside") == ["note.txt"]


def test_copy_out(desktop: Desktop) -> None:
    """A file that is copied from the phone arrives whole, and with its date."""
    put(desktop.phone / "Inside")
    desktop.copy(desktop.root / "Inside/note.txt", desktop.home / "Outside")
    there = desktop.home / "Outside/note.txt"
    desktop.until(lambda: there.read_text() == TEXT, "the file's contents")
    desktop.until(lambda: there.stat().st_mtime == DATE, "the date's arrival")


def test_rename(desktop: Desktop) -> None:
    """A file is renamed on the phone."""
    put(desktop.phone / "Inside")
    path = desktop.root / "Inside/note.txt"
    if desktop.manager.takes_keys:
        desktop.mark(path)
        desktop.press("F2")
        desktop.press("ctrl+a")
        desktop.type("renamed.txt")
    else:
        desktop.window(path.parent)
        desktop.program("gio", "rename", path, "renamed.txt")
    desktop.until(lambda: names(desktop.phone / "Inside") == ["renamed.txt"], "the new name")
    desktop.picture("done")
    assert (desktop.phone / "Inside/renamed.txt").read_text() == TEXT


def test_new_folder(desktop: Desktop) -> None:
    """A folder is made on the phone."""
    inside, made = desktop.root / "Inside", desktop.phone / "Inside/fresh"
    manager = desktop.manager
    if not manager.takes_keys:
        desktop.window(inside)
        desktop.program("gio", "mkdir", inside / "fresh")
    elif manager.asks_for_name:
        put(desktop.phone / "Inside")
        window = desktop.mark(inside / "note.txt")  # so that it is known to be listed
        desktop.press(manager.new_folder)
        desktop.dialog("the question for a name", window)
        desktop.press("ctrl+a")
        desktop.type("fresh")
    else:
        desktop.window(inside)
        desktop.insist(
            lambda: desktop.press(manager.new_folder), lambda: names(made.parent) != [], "a folder"
        )

        def name() -> None:
            desktop.press("Escape", "ctrl+a", "F2", "ctrl+a")
            desktop.type("fresh")

        desktop.insist(name, made.is_dir, "its name")
    desktop.until(made.is_dir, "the folder")
    desktop.picture("done")


def test_delete(desktop: Desktop) -> None:
    """A file is deleted on the phone, after a question."""
    put(desktop.phone / "Inside")
    path = desktop.root / "Inside/note.txt"
    if desktop.manager.takes_keys:
        window = desktop.mark(path)
        desktop.press("shift+Delete")
        desktop.dialog("the question whether to delete", window)
        desktop.picture("question")
        desktop.press("Return")
    else:
        desktop.window(path.parent)
        desktop.program("gio", "remove", path)
    desktop.until(lambda: names(desktop.phone / "Inside") == [], "the file's end")


def test_trash(desktop: Desktop) -> None:
    """The key for the trash frees the phone's space: nothing of the file, and no trash, is on it afterwards."""
    put(desktop.phone / "Inside")
    path = desktop.root / "Inside/note.txt"
    if not desktop.manager.takes_keys:
        desktop.window(path.parent)
        assert desktop.program("gio", "trash", path).startswith("failed: ")
        assert names(desktop.phone / "Inside") == ["note.txt"]
        assert names(desktop.phone) == ["Inside"]
        return
    window = desktop.mark(path)
    desktop.press("Delete")
    windows = [window]
    for key in desktop.manager.deletes_instead:
        windows.append(desktop.dialog("the question whether to delete", *windows))
        desktop.picture(f"question-{len(windows) - 1}")
        desktop.press(key)
    desktop.until(lambda: names(desktop.phone / "Inside") == [], "the file's end")
    desktop.picture("done")
    assert names(desktop.phone) == ["Inside"]
    if not desktop.manager.deletes_instead:  # Dolphin moves it into the trash in the home
        assert (desktop.home / ".local/share/Trash/files/note.txt").read_text() == TEXT


def test_eject(desktop: Desktop) -> None:
    """An eject, by GIO as its programs do it, ends the mount and takes its directory away."""
    desktop.window(desktop.home / "Outside")
    assert (desktop.mountpoint / STORAGE / "Inside").is_dir()
    if desktop.manager.uses_gio:
        refused = desktop.program("gio", "mount", "--unmount", desktop.mountpoint)
        assert "failed" not in refused, refused
    else:
        run("fusermount3", "-u", desktop.mountpoint)  # Solid doesn't know the phone
    desktop.until(lambda: not desktop.mountpoint.exists(), "the directory's end")
    desktop.picture("gone")
    assert names(desktop.home / "Phones") == []
