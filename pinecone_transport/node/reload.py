"""Options that have changed while a node runs: read again, taken over, or reported and left as they were."""

from __future__ import annotations

import logging
from collections.abc import Callable

from twisted.python.failure import Failure

from pinecone_transport.errors import ConfigurationError, PineconeError
from pinecone_transport.node.config import NodeConfig
from pinecone_transport.node.node import Node

logger = logging.getLogger("pinecone_transport.node")


def reload_options(node: Node, read: Callable[[], NodeConfig]) -> None:
    """Dial lost peers at once, and have the node take over what ``read`` returns. Nothing is raised.

    Args:
        node: It runs.
        read: Returns the options of now; it may raise `ConfigurationError`.
    """
    node.redial_now()
    try:
        config = read()
    except ConfigurationError as error:
        _say_why_not(error)
    else:
        node.reconfigure(config).addCallbacks(_say_so, _failed)


def _say_so(_: None) -> None:
    logger.info("The options were read again and are taken over")


def _failed(reason: Failure) -> None:
    reason.trap(PineconeError)
    _say_why_not(reason.value)


def _say_why_not(error: BaseException | None) -> None:
    logger.error("The options stay as they were, for what is in the configuration now cannot be used: %s", error)
