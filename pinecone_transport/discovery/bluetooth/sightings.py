"""When to tell of a device that advertises: radios report it many times a second."""

from __future__ import annotations

from typing import Final, final

TELL_INTERVAL: Final = 1.0
"""Seconds between two reports of the same device."""
MAX_TOLD: Final = 256


@final
class Sightings:
    """The devices that were told of lately, as many as there is room for."""

    def __init__(self) -> None:
        self._told_at: Final[dict[str, float]] = {}

    def is_news(self, device: str, now: float) -> bool:
        """Tell whether this sighting is to be told of, and take it for told."""
        told_at = self._told_at.pop(device, None)
        is_news = told_at is None or now - told_at >= TELL_INTERVAL
        if len(self._told_at) >= MAX_TOLD:
            del self._told_at[next(iter(self._told_at))]
        self._told_at[device] = now if told_at is None or is_news else told_at
        return is_news
