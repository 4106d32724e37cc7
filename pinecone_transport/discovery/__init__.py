"""Who to dial, and when. In: addresses and the time. Out: dials, through a function that the node gives."""

from pinecone_transport.discovery.interfaces import Admits, Candidate, CandidateState, LinkSource
from pinecone_transport.discovery.static import StaticPeer

__all__ = ["Admits", "Candidate", "CandidateState", "LinkSource", "StaticPeer"]
