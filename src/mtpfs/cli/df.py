"""`mtpfs df`: the phone's storages and their room."""

from __future__ import annotations

from mtpfs.cli.files import FileParser, Run, run_with_phone, short


def run(words: list[str]) -> int:
    """Run `mtpfs df`; return its exit status. Raises `SetupError`."""
    parser = FileParser(
        "df", "[-h] [--json] [--source SOURCE]", "Tell the room on the phone's storages, in KiB."
    )
    parser.add_argument("-h", "--human-readable", action="store_true", help="sizes such as 340M")
    return run_with_phone("df", parser.parse(words), _tell)


def _tell(run: Run) -> None:
    storages = run.phone.storages()
    if run.chosen.json:
        for storage in storages:
            run.say_json(
                {
                    "path": storage.path,
                    "name": storage.name,
                    "capacity": storage.capacity,
                    "free": storage.free,
                    "removable": storage.removable,
                    "writable": storage.writable,
                }
            )
        return
    if not storages:
        run.fail("the phone shows no storages: unlock it, and allow file transfer")
        return

    def shown(size: int) -> str:
        return short(size) if run.chosen.human_readable else str(size // 1024)

    rows = [("Size" if run.chosen.human_readable else "1K-blocks", "Used", "Free", "Use%", "Storage")]
    for storage in storages:
        used = storage.capacity - storage.free
        share = f"{100 * used / storage.capacity:.0f}%" if storage.capacity else "-"
        rows.append((shown(storage.capacity), shown(used), shown(storage.free), share, storage.path))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        run.say(
            " ".join(f"{cell:>{width}}" for cell, width in zip(row[:4], widths, strict=True)) + f" {row[4]}"
        )
