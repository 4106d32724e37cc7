"""Who to dial, and when. In: addresses and the time. Out: dials, through a function that the node gives."""

from pinecone_transport.discovery.interfaces import Admits, Candidate, CandidateState, Counting, LinkSource
from pinecone_transport.discovery.static import StaticPeer
from pinecone_transport.discovery.static_source import Dial, Listener, StaticSource

__all__ = [
    "Admits",
    "Candidate",
    "CandidateState",
    "Counting",
    "Dial",
    "LinkSource",
    "Listener",
    "StaticPeer",
    "StaticSource",
]
