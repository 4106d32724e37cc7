"""Everything this package raises or reports, by whose fault it is.

Decoders raise; machines catch and report. A ``RemoteProtocolError`` carries the section of the protocol that the
peer broke, so that a log line can say it.
"""

from __future__ import annotations


class PineconeError(Exception):
    """Base of all errors of this package."""


class ProtocolError(PineconeError):
    """Somebody broke the protocol."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol.

    Attributes:
        reason: What was wrong, in a few words, without the peer's bytes.
        section: The section of docs/protocol that says how it should have been, such as ``"§2"``.
    """

    def __init__(self, reason: str, section: str) -> None:
        super().__init__(f"{reason} ({section})")
        self.reason = reason
        self.section = section


class HandshakeError(RemoteProtocolError):
    """The peer's 104 bytes are not a handshake that we accept (§2)."""

    def __init__(self, reason: str, section: str = "§2") -> None:
        super().__init__(reason, section)


class FrameError(RemoteProtocolError):
    """Bytes of a link are not a frame (§3)."""

    def __init__(self, reason: str, section: str = "§3") -> None:
        super().__init__(reason, section)


class AnnouncementError(RemoteProtocolError):
    """A tree announcement, bootstrap or wakeup is malformed, badly signed, or not sane (§3, §4)."""

    def __init__(self, reason: str, section: str = "§3") -> None:
        super().__init__(reason, section)


class UtpError(RemoteProtocolError):
    """A packet is not µTP, or ends its connection (§8, BEP 29)."""

    def __init__(self, reason: str, section: str = "§8") -> None:
        super().__init__(reason, section)


class CertificateError(RemoteProtocolError):
    """A certificate is not a self-signed ed25519 one, or not of the key it should be (§8)."""

    def __init__(self, reason: str, section: str = "§8") -> None:
        super().__init__(reason, section)


class LinkTimeoutError(RemoteProtocolError):
    """A link was silent, slow to shake hands, or took no bytes for too long (§2)."""

    def __init__(self, reason: str, section: str = "§2") -> None:
        super().__init__(reason, section)


class LocalProtocolError(ProtocolError):
    """Our own caller asked for something that the state or the wire does not allow. Raised at once."""


class StreamError(PineconeError):
    """Why a stream ended other than by both ends closing it."""


class StreamResetError(StreamError):
    """The far end reset the stream."""


class StreamTimeoutError(StreamError):
    """The far end did not answer for too long."""


class UnreachableError(StreamError):
    """Nothing leads to the key."""


class ConfigurationError(PineconeError):
    """An option is wrong.

    Attributes:
        path: The option, such as ``peers.0``; empty where it is not one option's fault.
        sentence: What is wrong and what would be right, for the user.
    """

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(f"{path}: {sentence}" if path else sentence)
        self.path = path
        self.sentence = sentence
