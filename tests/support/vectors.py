"""The golden vectors, and pieces of them as values of ours."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pinecone_transport.wire import NO_WATERMARK, Frame, Watermark

_FOLDER = Path(__file__).parent.parent / "vectors"


@cache
def load_vector(name: str) -> Any:
    """Return the parsed ``tests/vectors/<name>.json``; shared, so not to be changed."""
    return json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def named(cases: list[dict[str, Any]]) -> list[Any]:
    """Return the cases as parameters of a test, with their names as ids where they have one."""
    return [pytest.param(case, id=case.get("name", str(number))) for number, case in enumerate(cases)]


def frame_of(case: dict[str, Any], payload: bytes) -> Frame:
    """Return the frame whose fields a vector gives."""
    mark = case.get("watermark")
    return Frame(
        case["type"],
        payload,
        hop_limit=case["hop_limit"],
        destination=tuple(case.get("destination", ())),
        source=tuple(case.get("source", ())),
        destination_key=bytes.fromhex(case.get("destination_key", "")),
        source_key=bytes.fromhex(case.get("source_key", "")),
        watermark=Watermark(bytes.fromhex(mark["key"]), mark["seq"]) if mark else NO_WATERMARK,
        version=case.get("version", 0),
        extra=case.get("extra", 0),
    )
