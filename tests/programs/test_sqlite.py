"""SQLite: databases on the phone, in every way to keep a journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from mount.conftest import Mount
from programs.conftest import program, put_on_phone

_FILL = """
CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, x BLOB);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO t(x) SELECT randomblob(1000) FROM n;
COMMIT;
DELETE FROM t WHERE id % 3 = 0;
"""


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "memory", "wal", "off"])
def test_journal_modes(mounted: Mount, mode: str) -> None:
    """A database that was filled, reopened and filled again is whole, on the mount and on the phone."""
    database = mounted.root / "database.db"
    for count in (334, 667):
        kept = program("sqlite3", database, f"PRAGMA journal_mode={mode};{_FILL}").stdout.split()
        assert kept == [mode]
        assert program(
            "sqlite3", database, "PRAGMA integrity_check; SELECT count(*) FROM t;"
        ).stdout.split() == [
            "ok",
            str(count),
        ]
    found = program(
        "sqlite3", mounted.phone / "database.db", "PRAGMA integrity_check; SELECT count(*) FROM t;"
    ).stdout
    assert found.split() == ["ok", "667"]


def test_rollback(mounted: Mount) -> None:
    """A transaction that is rolled back, after it grew beyond the cache, leaves what was there."""
    database = mounted.root / "database.db"
    program("sqlite3", database, _FILL)
    words = "PRAGMA cache_size=5; BEGIN; UPDATE t SET x = zeroblob(900); ROLLBACK;"
    program("sqlite3", database, words)
    found = program(
        "sqlite3", database, "PRAGMA integrity_check; SELECT count(*) FROM t WHERE x = zeroblob(900);"
    ).stdout
    assert found.split() == ["ok", "0"]


def test_vacuum(mounted: Mount) -> None:
    """VACUUM makes the database smaller and leaves it whole."""
    database = mounted.root / "database.db"
    program("sqlite3", database, _FILL, "DELETE FROM t WHERE id > 50;")
    before = database.stat().st_size
    program("sqlite3", database, "VACUUM;")
    assert database.stat().st_size < before / 2
    assert (mounted.phone / "database.db").stat().st_size == database.stat().st_size
    assert program("sqlite3", database, "PRAGMA integrity_check;").stdout.split() == ["ok"]


def test_reading(filled: Mount, tmp_path: Path) -> None:
    """A database that is on the phone can be read through the mount."""
    program("sqlite3", tmp_path / "database.db", _FILL)
    put_on_phone(tmp_path / "database.db", filled)
    words = (f"file:{filled.root}/database.db?immutable=1", "PRAGMA integrity_check; SELECT count(*) FROM t;")
    assert program("sqlite3", *words).stdout.split() == ["ok", "334"]
