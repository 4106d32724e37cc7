"""A name is a key, looks like one, or is none of our business."""

from __future__ import annotations

import pytest

from synapse_module.names import NameKind, kind_of_name

KEY = "ab" * 32


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (KEY, NameKind.OVERLAY),
        ("1" * 64, NameKind.OVERLAY),
        (KEY.upper(), NameKind.MISSPELT),
        (KEY[:-1] + "B", NameKind.MISSPELT),
        (f"{KEY}:8448", NameKind.MISSPELT),
        (f"{KEY.upper()}:8448", NameKind.MISSPELT),
        (f"{KEY}:", NameKind.MISSPELT),
        (f"{KEY}.", NameKind.MISSPELT),
        (f"{KEY}.:8448", NameKind.MISSPELT),
        (KEY[:-1], NameKind.ORDINARY),
        (KEY + "a", NameKind.ORDINARY),
        (KEY[:-1] + "g", NameKind.ORDINARY),
        (f"{KEY}.example.org", NameKind.ORDINARY),
        (f"{KEY}\n", NameKind.ORDINARY),
        ("example.org", NameKind.ORDINARY),
        ("[::1]:8448", NameKind.ORDINARY),
        ("", NameKind.ORDINARY),
    ],
)
def test_kind_of_name(name: str, kind: NameKind) -> None:
    assert kind_of_name(name) is kind
