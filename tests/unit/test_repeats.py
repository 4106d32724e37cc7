import logging

import pytest

from pinecone_transport.repeats import LINES_PER_WINDOW, WINDOW, RepeatFilter


def test_repeated_lines_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    repeats = RepeatFilter(logging.getLogger("test"))
    for number in range(LINES_PER_WINDOW + 7):
        repeats.info("192.0.2.1", 100.0, "line %d", number)
    repeats.info("192.0.2.2", 100.0, "another")
    assert len(caplog.messages) == LINES_PER_WINDOW + 1
    caplog.clear()
    repeats.info("192.0.2.1", 100.0 + WINDOW, "line %d", 99)
    assert caplog.messages == ["7 lines about 192.0.2.1 were left out", "line 99"]


def test_nothing_is_said_where_nothing_was_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    repeats = RepeatFilter(logging.getLogger("test"))
    repeats.info("192.0.2.1", 0.0, "one")
    repeats.info("192.0.2.1", WINDOW, "two")
    assert caplog.messages == ["one", "two"]


def test_what_is_left_out_can_be_seen_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    repeats = RepeatFilter(logging.getLogger("test"))
    for number in range(LINES_PER_WINDOW + 2):
        repeats.info("192.0.2.1", 0.0, "line %d", number)
    assert [record.levelname for record in caplog.records[-2:]] == ["DEBUG", "DEBUG"]


def test_a_forgotten_subject_may_speak_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    repeats = RepeatFilter(logging.getLogger("test"))
    for _ in range(LINES_PER_WINDOW + 1):
        repeats.info("first", 0.0, "line")
    for number in range(256):
        repeats.info(f"subject {number}", 0.0, "line")
    caplog.clear()
    repeats.info("first", 0.0, "line")
    assert caplog.messages == ["line"]
