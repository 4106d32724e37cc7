"""Links that ask more of a peer than Pinecone's handshake (§11)."""

from __future__ import annotations

from random import Random

import pytest

from pinecone_transport.errors import HandshakeError, LinkTimeoutError, LocalProtocolError
from pinecone_transport.peering import HandshakeCompleted, LinkFailed, LinkTerms, Peering, PeeringState
from pinecone_transport.peering.peering import HELD_LIMIT
from pinecone_transport.wire import PeerType, encode_frame, encode_handshake
from tests.support.clock import VirtualClock
from tests.support.frames import FrameFactory, identity
from tests.support.peerings import written

MESH = LinkTerms(mesh_key=bytes(32))
PROOF = LinkTerms(require_proof=True)
BOTH = LinkTerms(mesh_key=bytes(32), require_proof=True)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def peering(seed: int, clock: VirtualClock, terms: LinkTerms | None, *, outbound: bool) -> Peering:
    return Peering(identity(seed), PeerType.REMOTE, clock.now, outbound=outbound, terms=terms, random=Random(seed))


def converse(a: Peering, b: Peering, now: float) -> tuple[list, list]:
    """Carry bytes both ways until neither has more to say; return the events of each."""
    events_a, events_b = [], []
    while a.has_data_to_send() or b.has_data_to_send():
        events_b += b.receive_data(written(a, now), now)
        events_a += a.receive_data(written(b, now), now)
    return events_a, events_b


@pytest.mark.parametrize(
    ("ours", "theirs"), [(MESH, MESH), (PROOF, None), (None, PROOF), (PROOF, PROOF), (BOTH, BOTH), (BOTH, MESH)]
)
def test_ends_that_fulfil_each_other_s_terms_are_linked(clock, ours, theirs) -> None:
    a = peering(1, clock, ours, outbound=True)
    b = peering(2, clock, theirs, outbound=False)
    assert converse(a, b, clock.now) == (
        [HandshakeCompleted(identity(2).key)],
        [HandshakeCompleted(identity(1).key)],
    )
    assert a.state is b.state is PeeringState.ESTABLISHED
    frame = FrameFactory().traffic()
    a.send_frame(frame, clock.now)
    assert b.receive_data(written(a, clock.now), clock.now) == [frame]


def test_no_link_opens_without_the_nonces_that_its_terms_take(clock) -> None:
    for terms in (MESH, PROOF):
        with pytest.raises(LocalProtocolError):
            Peering(identity(1), PeerType.REMOTE, clock.now, terms=terms)


def test_nothing_of_the_handshake_leaves_before_the_gate_is_passed(clock) -> None:
    for outbound in (True, False):
        end = peering(1, clock, MESH, outbound=outbound)
        said = written(end, clock.now)
        end.receive_data(bytes(32), clock.now)
        said += written(end, clock.now)
        assert len(said) == (64 if outbound else 32)
        assert identity(1).key not in said


@pytest.mark.parametrize("outbound", [True, False])
def test_a_node_outside_the_mesh_is_refused(clock, outbound) -> None:
    ours = peering(1, clock, MESH, outbound=outbound)
    written(ours, clock.now)
    [event] = ours.receive_data(encode_handshake(identity(2)), clock.now)
    assert isinstance(event, LinkFailed)
    assert isinstance(event.error, HandshakeError)
    assert not ours.has_data_to_send()


def test_frames_wait_until_the_key_is_proved(clock) -> None:
    ours = peering(1, clock, PROOF, outbound=True)
    theirs = peering(2, clock, None, outbound=False)
    theirs.receive_data(written(ours, clock.now), clock.now)
    frame = FrameFactory().traffic()
    theirs.send_frame(frame, clock.now)
    handshake_and_frame = written(theirs, clock.now)
    assert ours.receive_data(handshake_and_frame, clock.now) == []
    assert ours.key is None
    assert ours.state is PeeringState.PROOF
    theirs.receive_data(written(ours, clock.now), clock.now)
    assert ours.receive_data(written(theirs, clock.now), clock.now) == [HandshakeCompleted(identity(2).key), frame]


def test_a_recorded_handshake_does_not_open_a_link(clock) -> None:
    ours = peering(1, clock, PROOF, outbound=False)
    assert ours.receive_data(encode_handshake(identity(2)), clock.now) == []
    keepalive = bytes.fromhex("70696e65" + "00000000" + "000a")
    for _ in range(9):
        clock.advance(1.0)
        assert ours.receive_data(keepalive, clock.now) == []
        assert ours.handle_timer(clock.now) == []
    clock.advance(1.0)
    assert ours.next_timer() <= clock.now
    ours.receive_data(keepalive, clock.now)
    [event] = ours.handle_timer(clock.now)
    assert isinstance(event.error, LinkTimeoutError)
    assert "did not prove its key" in str(event.error)


def test_a_proof_by_another_key_ends_the_link(clock) -> None:
    ours = peering(1, clock, PROOF, outbound=False)
    liar = peering(3, clock, None, outbound=True)
    liar.receive_data(written(ours, clock.now), clock.now)
    ours.receive_data(encode_handshake(identity(2)), clock.now)
    liar.receive_data(written(ours, clock.now), clock.now)
    answer = written(liar, clock.now)[104:]
    assert answer
    [event] = ours.receive_data(answer, clock.now)
    assert isinstance(event.error, HandshakeError)


def test_what_is_kept_from_an_unproved_peer_is_bounded(clock) -> None:
    ours = peering(1, clock, PROOF, outbound=False)
    ours.receive_data(encode_handshake(identity(2)), clock.now)
    frame = encode_frame(FrameFactory().traffic())
    events = ours.receive_data(frame * (HELD_LIMIT // len(frame)), clock.now)
    assert events == []
    [event] = ours.receive_data(frame, clock.now)
    assert isinstance(event.error, HandshakeError)
    assert ours.next_timer() is None


def test_challenges_without_end_are_counted(clock) -> None:
    ours = peering(1, clock, None, outbound=False)
    theirs = peering(2, clock, PROOF, outbound=True)
    converse(theirs, ours, clock.now)
    challenge = bytes.fromhex("70696e65" + "00800000" + "002b" + "01") + bytes(32)
    assert ours.receive_data(6 * challenge, clock.now) == []
    assert ours.counters["dropped_in_challenges"] == 3
    assert len(written(ours, clock.now)) == 3 * 75
