"""Keys, durations and sizes as the views of ``pinecone`` write them."""

from __future__ import annotations


def short(key: str) -> str:
    """Return the beginning of a key."""
    return f"{key[:16]}…"


def duration(seconds: float) -> str:
    """Return a duration in the unit that fits it."""
    whole = int(seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if whole >= 2 * length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def size(length: float) -> str:
    """Return a number of bytes in the unit that fits it."""
    for unit in ("B", "kB", "MB"):
        if length < 10_000:
            return f"{length:.0f} {unit}"
        length /= 1000
    return f"{length:.0f} GB"


def milliseconds(seconds: float | None) -> str:
    """Return a round trip; a dash if none was measured."""
    return f"{1000 * seconds:.1f} ms" if seconds is not None else "–"
