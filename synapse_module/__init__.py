"""A Synapse module that carries federation between key-named homeservers over the Pinecone overlay.

From above come Synapse's federation requests and events; to below go HTTP requests over `twisted_endpoints`. In
``homeserver.yaml`` the module is ``synapse_module.PineconeModule``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synapse_module.module import PineconeModule

__all__ = ["PineconeModule"]


def __getattr__(name: str) -> object:
    """Import Synapse only when the module itself is asked for: the commands work where it is not installed."""
    if name == "PineconeModule":
        from synapse_module.synapse_hooks import check_hooks

        check_hooks()
        from synapse_module.module import PineconeModule

        return PineconeModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
