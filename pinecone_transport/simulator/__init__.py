"""Whole networks on a virtual clock: many real stacks, and links between them that a scenario makes and cuts."""

from pinecone_transport.simulator.dials import Dial, Dials
from pinecone_transport.simulator.network import Network, SimulatedLink
from pinecone_transport.simulator.shape import Settled, descending_of, is_settled, parent_of, parts, root_of, settled
from pinecone_transport.simulator.transfers import Direction, Transfer, Transfers

__all__ = [
    "Dial",
    "Dials",
    "Direction",
    "Network",
    "Settled",
    "SimulatedLink",
    "Transfer",
    "Transfers",
    "descending_of",
    "is_settled",
    "parent_of",
    "parts",
    "root_of",
    "settled",
]
