"""The states of a connection and what leads from one to another, as data: the names are TCP's."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a connection is between its SYN and its end."""

    SYN_SENT = auto()
    """We dialled and wait for the ST_STATE."""
    SYN_RECEIVED = auto()
    """The far end dialled; nothing yet shows that our ST_STATE reached it. The owner does not know of it."""
    ESTABLISHED = auto()
    FIN_WAIT_1 = auto()
    """We have closed; the end is not yet acknowledged."""
    FIN_WAIT_2 = auto()
    """We have closed and that is acknowledged; the far end may still send."""
    CLOSE_WAIT = auto()
    """The far end has closed and all that it sent is here; we may still send."""
    LAST_ACK = auto()
    """Both have closed; our end is not yet acknowledged."""
    CLOSED = auto()


class Input(Enum):
    """What moves a connection."""

    OPENED = auto()
    """The far end has answered our SYN, or shown that it got our answer to its own."""
    CLOSE = auto()
    """The owner closes."""
    FIN_RECEIVED = auto()
    """The far end's ST_FIN is here, and all before it."""
    FIN_ACKNOWLEDGED = auto()
    END = auto()
    """A reset by either side, or nothing was heard for too long."""


TRANSITIONS: Final[dict[tuple[State, Input], State]] = {
    (State.SYN_SENT, Input.OPENED): State.ESTABLISHED,
    (State.SYN_SENT, Input.END): State.CLOSED,
    (State.SYN_RECEIVED, Input.OPENED): State.ESTABLISHED,
    (State.SYN_RECEIVED, Input.END): State.CLOSED,
    (State.ESTABLISHED, Input.CLOSE): State.FIN_WAIT_1,
    (State.ESTABLISHED, Input.FIN_RECEIVED): State.CLOSE_WAIT,
    (State.ESTABLISHED, Input.END): State.CLOSED,
    (State.FIN_WAIT_1, Input.FIN_ACKNOWLEDGED): State.FIN_WAIT_2,
    (State.FIN_WAIT_1, Input.FIN_RECEIVED): State.LAST_ACK,
    (State.FIN_WAIT_1, Input.END): State.CLOSED,
    (State.FIN_WAIT_2, Input.FIN_RECEIVED): State.CLOSED,
    (State.FIN_WAIT_2, Input.END): State.CLOSED,
    (State.CLOSE_WAIT, Input.CLOSE): State.LAST_ACK,
    (State.CLOSE_WAIT, Input.END): State.CLOSED,
    (State.LAST_ACK, Input.FIN_ACKNOWLEDGED): State.CLOSED,
    (State.LAST_ACK, Input.END): State.CLOSED,
}
