"""What a `Node` tells its observers besides the stack's own events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from pinecone_transport.identity import PublicKey
from pinecone_transport.router import RouteLearned, TreeChanged, WakeupReceived
from pinecone_transport.stack import LinkUp


@dataclass(slots=True)
class LinkDown:
    """A link that was up is gone. ``reason`` is for people."""

    link: int
    key: PublicKey
    reason: str


OverlayEvent: TypeAlias = LinkUp | LinkDown | TreeChanged | RouteLearned | WakeupReceived
