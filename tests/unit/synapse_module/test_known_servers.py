"""Who is told that we are back, out of Synapse's own tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from itertools import count

import pytest

from synapse_module.synapse_internals import select_known_servers

OWN, NEW, OLD, SILENT, GONE = (digit * 64 for digit in "01234")


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    schema = files("synapse.storage.schema") / "main" / "full_schemas" / "72" / "full.sql.sqlite"
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.read_text())
    yield connection
    connection.close()


def add_members(database: sqlite3.Connection, membership: str, *user_ids: str) -> None:
    numbers = count(database.execute("SELECT COUNT(*) FROM current_state_events").fetchone()[0])
    database.executemany(
        "INSERT INTO current_state_events VALUES (?, '!room:a', 'm.room.member', ?, ?)",
        [(f"${next(numbers)}", user_id, membership) for user_id in user_ids],
    )


def add_destinations(database: sqlite3.Connection, *sent_last: tuple[str, int | None]) -> None:
    database.executemany("INSERT INTO destinations VALUES (?, 0, 0, NULL, ?)", sent_last)


def test_those_that_were_sent_something_come_first_and_the_last_of_them_before_the_others(
    database: sqlite3.Connection,
) -> None:
    add_destinations(database, (OLD, 3), (NEW, 7), ("matrix.org", 9))
    add_members(database, "join", f"@a:{SILENT}", f"@b:{NEW}")
    assert select_known_servers(database.cursor(), OWN, 10) == [NEW, OLD, SILENT]
    assert select_known_servers(database.cursor(), OWN, 1) == [NEW]


def test_of_members_only_those_of_other_servers_count_that_are_still_in_a_room(database: sqlite3.Connection) -> None:
    add_members(database, "join", f"@me:{OWN}", "@a:matrix.org", f"@b:{SILENT}", f"@c:{SILENT}", f"@d:{NEW}:8448")
    add_members(database, "leave", f"@a:{GONE}")
    assert select_known_servers(database.cursor(), OWN, 10) == [SILENT]


def test_nobody_is_known_at_first(database: sqlite3.Connection) -> None:
    assert select_known_servers(database.cursor(), OWN, 10) == []
