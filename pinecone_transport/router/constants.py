"""Times (seconds) and bounds of the router. The times are the network's; the bounds are our own."""

from __future__ import annotations

from typing import Final

LOCAL: Final = 0
"""The port that is the node itself (§2)."""

FIRST_PORT: Final = 1
LAST_PORT: Final = 253
"""So many links at most (§2)."""

ANNOUNCEMENT_INTERVAL: Final = 30 * 60.0
"""Between a root's announcements (§4)."""
ANNOUNCEMENT_TIMEOUT: Final = 45 * 60.0
"""After which a peer's announcement makes it no parent any more (§4)."""
REPARENT_WAIT: Final = 1.0
"""From giving a parent up to selecting one (§4)."""

MAINTENANCE_INTERVAL: Final = 1.0
BOOTSTRAP_INTERVAL: Final = 5.0
BOOTSTRAP_HASTE: Final = 4.0
"""By so much earlier bootstraps leave for a while after our place in the tree, or our links, have changed (§5)."""
HASTY_TIME: Final = 10.0
"""That while: what was sent before all neighbours had found their places led astray, and so may the next ones."""
ROUTE_TIMEOUT: Final = 10.0
"""Of table entries and of the descending neighbour (§5)."""

COORDINATES_TIMEOUT: Final = 60.0
"""For which coordinates seen in traffic are used (§6)."""

WAKEUP_INTERVAL: Final = 60.0
WAKEUP_SPACING: Final = 30.0
"""Least time between two wakeup broadcasts of one node (§7)."""
WAKEUP_TIMEOUT: Final = 3 * 60.0
"""After which a seen broadcast is forgotten (§7)."""
WAKEUP_HOP_LIMIT: Final = 5
WAKEUP_FLOOD_LIMIT: Final = 4
"""At this lowered hop limit and above a broadcast goes to every peer, below it along the tree (§7)."""

MAX_ROUTES: Final = 100_000
MAX_COORDINATES: Final = 16_384
MAX_HOPS: Final = 255
"""In coordinates that are remembered: longer ones leave a frame too little room."""
MAX_WAKEUPS: Final = 16_384
MAX_SIGNATURES: Final = 16_384
"""That are remembered as verified."""
MAX_FLOWS: Final = 8192
"""Headers of traffic for which it is remembered what was decided."""
MAX_FLOW_HEADER: Final = 512
"""Bytes of a header that is remembered. Most have about a hundred; coordinates of hundreds of hops make longer ones."""
MAX_LOOPBACK: Final = 1024
"""Packets to ourselves that wait for the next timer."""
MAX_OUTPUT_BYTES: Final = 32 * 1024 * 1024
"""Of frames that the owner has not taken yet; it takes them in every turn."""
FRAME_OVERHEAD: Final = 256
"""What a waiting frame counts for besides its payload, bytes."""
MAX_ANNOUNCEMENT_LENGTH: Final = 65_535 - 12 - 98
"""The longest payload to which our own signature can be added within one frame: header 12, our hop 98 bytes (§3)."""
