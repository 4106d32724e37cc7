"""What a search for users may ask for."""

from __future__ import annotations

import pytest

from synapse_module.directory import DEFAULT_PROFILES, MAX_PROFILES, MAX_SEARCH_LENGTH, is_searchable, parse_search
from synapse_module.synapse_internals import SynapseError


@pytest.mark.parametrize(
    ("body", "search"),
    [
        ({"SearchString": "alice", "Limit": 3}, ("alice", 3)),
        ({"SearchString": "alice"}, ("alice", DEFAULT_PROFILES)),
        ({"SearchString": "alice", "Limit": 10**30}, ("alice", MAX_PROFILES)),
        ({"SearchString": "alice", "Limit": -1}, ("alice", 0)),
        ({}, ("", DEFAULT_PROFILES)),
    ],
)
def test_a_search_has_a_text_and_a_limit(body: dict[str, object], search: tuple[str, int]) -> None:
    assert parse_search(body) == search


@pytest.mark.parametrize(
    "body", [{"SearchString": 1}, {"SearchString": None}, {"Limit": "25"}, {"Limit": 2.5}, {"Limit": True}]
)
def test_what_is_of_the_wrong_type_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(SynapseError) as raised:
        parse_search(body)
    assert raised.value.code == 400


@pytest.mark.parametrize("text", ["", " ", "@:*", "_", "%", "-.-", "a" * (MAX_SEARCH_LENGTH + 1)])
def test_a_text_without_a_word_and_one_of_too_many_find_nobody(text: str) -> None:
    assert not is_searchable(text)


@pytest.mark.parametrize("text", ["a", "Ä", "7", "@alice:", "名", "a" * MAX_SEARCH_LENGTH])
def test_a_word_of_any_script_is_enough(text: str) -> None:
    assert is_searchable(text)
