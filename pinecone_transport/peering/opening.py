"""How a link opens: the gate of a closed mesh, the handshakes, and the proof of the peer's key (§2, §11).

Gate and proof are there only if the node's owner asks for them. Without them this is Pinecone's handshake and no more.
"""

from __future__ import annotations

from typing import Final, final

from pinecone_transport.errors import LocalProtocolError
from pinecone_transport.identity import Identity, PublicKey
from pinecone_transport.peering.link_proof import LinkProof
from pinecone_transport.peering.mesh_gate import NONCE_LENGTH, MeshGate
from pinecone_transport.randomness import RandomSource
from pinecone_transport.wire import HANDSHAKE_LENGTH, decode_handshake, encode_handshake


@final
class LinkTerms:
    """What is asked of a peer before its frames count.

    Args:
        mesh_key: From `mesh_key`, if the link has to pass the gate of a closed mesh.
        require_proof: Whether the peer has to prove its key.
    """

    __slots__ = ("mesh_key", "require_proof")

    def __init__(self, *, mesh_key: bytes | None = None, require_proof: bool = False) -> None:
        self.mesh_key: Final = mesh_key
        self.require_proof: Final = require_proof


@final
class Opening:
    """One end of a link that opens.

    Args:
        identity: Ours.
        terms: None for Pinecone's handshake alone.
        outbound: Whether we dialled.
        random: For nonces; needed with terms.

    Raises:
        LocalProtocolError: There are terms, and nothing to make nonces from.

    Attributes:
        key: The peer's by its handshake, 32 bytes; None until that has come.
    """

    __slots__ = ("_gate", "_handshake_in", "_identity", "_proof", "_proof_nonce", "_to_send", "key")

    def __init__(
        self, identity: Identity, terms: LinkTerms | None, *, outbound: bool, random: RandomSource | None
    ) -> None:
        self.key: PublicKey | None = None
        self._identity: Final = identity
        self._handshake_in = b""  # as much as has come
        self._gate: MeshGate | None = None
        self._proof: LinkProof | None = None  # once there is a key
        self._proof_nonce: bytes | None = None
        self._to_send = b""
        if terms is not None:
            if random is None:
                raise LocalProtocolError("what is asked of a peer takes nonces")
            if terms.mesh_key is not None:
                self._gate = MeshGate(terms.mesh_key, _nonce(random), outbound=outbound)
            if terms.require_proof:
                self._proof_nonce = _nonce(random)
        if self._gate is None:
            self._to_send = encode_handshake(identity)

    @property
    def is_done(self) -> bool:
        """Whether the peer has done all that was asked of it."""
        return self._proof is not None and self._proof.proved

    @property
    def unanswered(self) -> int:
        """Challenges of the peer's that were too many."""
        return self._proof.unanswered if self._proof is not None else 0

    def receive_data(self, data: bytes) -> int:
        """Take what the gate and the handshake lack; return the offset of the frames that follow.

        Raises:
            HandshakeError: The peer does not know the secret, or its handshake is not acceptable.

        Source: §2, §11.
        """
        start = 0
        if self._gate is not None:
            start = self._gate.receive_data(data)
            if not self._gate.passed:
                return start
            self._to_send += self._gate.data_to_send() + encode_handshake(self._identity)
            self._gate = None
        taken = data[start : start + HANDSHAKE_LENGTH - len(self._handshake_in)]
        self._handshake_in += taken
        if len(self._handshake_in) == HANDSHAKE_LENGTH:
            self._handshake_received()
        return start + len(taken)

    def receive_link_proof(self, frame: bytes) -> bool:
        """Take a frame of the link proof, once the handshake has come; tell whether the opening is done.

        Raises:
            FrameError: It is malformed.
            HandshakeError: The proof is not by the key of the handshake.

        Source: §11.
        """
        assert self._proof is not None  # frames come behind the handshake
        self._to_send += self._proof.receive_frame(frame) or b""
        return self._proof.proved

    def has_data_to_send(self) -> bool:
        """Tell whether `data_to_send` would give anything."""
        return bool(self._to_send) or (self._gate is not None and self._gate.has_data_to_send())

    def data_to_send(self) -> bytes:
        """Take what is to be written now, before any frame that waits."""
        data, self._to_send = self._to_send, b""
        return self._gate.data_to_send() + data if self._gate is not None else data

    def _handshake_received(self) -> None:
        self.key = decode_handshake(self._handshake_in)
        self._proof = LinkProof(self._identity, self.key, self._handshake_in, self._proof_nonce)
        self._to_send += self._proof.challenge() or b""


def _nonce(random: RandomSource) -> bytes:
    return random.getrandbits(8 * NONCE_LENGTH).to_bytes(NONCE_LENGTH, "big")
