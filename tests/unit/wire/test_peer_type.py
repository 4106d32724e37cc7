from pinecone_transport.wire import PeerType


def test_peer_types_have_the_reference_s_numbers_and_lower_is_preferred() -> None:
    assert [(peer_type.name, peer_type.value) for peer_type in sorted(PeerType)] == [
        ("PIPE", 0),
        ("MULTICAST", 1),
        ("BONJOUR", 2),
        ("REMOTE", 3),
        ("BLUETOOTH", 4),
    ]
