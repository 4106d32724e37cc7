"""Pinecone on one link. Bytes come in from below and frames go up; frames come in from above and bytes go down."""

from pinecone_transport.peering.events import HandshakeCompleted, LinkFailed, PeeringEvent
from pinecone_transport.peering.mesh_gate import mesh_key
from pinecone_transport.peering.opening import LinkTerms
from pinecone_transport.peering.peering import Peering, PeeringState

__all__ = ["HandshakeCompleted", "LinkFailed", "LinkTerms", "Peering", "PeeringEvent", "PeeringState", "mesh_key"]
