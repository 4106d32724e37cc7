"""Packets for a key become frames for a port, and back. Frames come in from peerings, packets from sessions."""

from pinecone_transport.router.events import (
    CoordinatesLearned,
    PacketReceived,
    PeerAtFault,
    RouteLearned,
    RouterEvent,
    TreeChanged,
    WakeupReceived,
)
from pinecone_transport.router.next_hop import Root
from pinecone_transport.router.ports import Peer
from pinecone_transport.router.router import Route, Router
from pinecone_transport.router.state import RouterState
from pinecone_transport.router.transit import Delivery, Passage, Run

__all__ = [
    "CoordinatesLearned",
    "Delivery",
    "PacketReceived",
    "Passage",
    "Peer",
    "PeerAtFault",
    "Root",
    "Route",
    "RouteLearned",
    "Router",
    "RouterEvent",
    "RouterState",
    "Run",
    "TreeChanged",
    "WakeupReceived",
]
