"""The one buffer that all links of a process read into, one after the other.

A link keeps no more of it than a frame that is not whole yet. One buffer stays in the processor's cache; one for each
link would not, and fresh bytes for each read cost more than reading them.
"""

from __future__ import annotations

from typing import Final

from pinecone_transport.wire import MAX_FRAME_LENGTH

READ_SIZE: Final = 256 * 1024
"""Bytes that are read at once."""
SCRATCH: Final = bytearray(MAX_FRAME_LENGTH + READ_SIZE)
"""A part of a frame, and what is read behind it."""
SCRATCH_VIEW: Final = memoryview(SCRATCH)
