"""A node of ours as a relay for Go nodes that speak QUIC, which it knows nothing of."""

import pytest
import pytest_twisted

from tests.support.mixed_network import MixedNetwork, identities, side_by_side

pytestmark = pytest.mark.interop

BYTES = 2_000_000


@pytest.mark.parametrize(("first", "last"), [("0.37", "0.37"), ("0.37", "0.48"), ("0.48", "0.48")])
@pytest_twisted.ensureDeferred
async def test_go_nodes_reach_one_another_over_quic_through_us(network: MixedNetwork, first: str, last: str) -> None:
    keys = identities("quic", 3)
    middle = await network.own(keys[1])
    one = await network.go(keys[0], quic=first, sessions="quic", peers=[middle.address])
    other = await network.go(keys[2], quic=last, sessions="quic", peers=[middle.address])
    await network.settled(2)
    for client, server in ((one, other), (other, one)):
        assert (await client.request(server.name))["text"] == "pong"
        up, down = await side_by_side(
            [
                client.request(server.name, "/upload", upload=BYTES),
                client.request(server.name, f"/download?bytes={BYTES}"),
            ]
        )
        assert up["sent"] in up["text"]
        assert (down["bytes"], down["sha256"]) == (BYTES, down["declared"])
    assert network.lost_links() == []
