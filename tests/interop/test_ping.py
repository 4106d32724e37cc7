"""``pinecone ping`` of a Go node that is a web server, but not one of this project's nodes."""

import pytest
import pytest_twisted

from tests.support.mixed_network import MixedNetwork, identities
from twisted_endpoints.ping import ping

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("sessions", ["utp", "quic"])
@pytest_twisted.ensureDeferred
async def test_a_go_node_answers_with_an_error_that_took_as_long(network: MixedNetwork, sessions: str) -> None:
    theirs, ours = identities("ping", 2)
    go = await network.go(theirs, sessions=sessions)
    own = await network.own(ours, peers=[go.address])
    await network.settled(1)
    report = await ping(own.node, theirs.key)
    assert report["outcome"] == "what answers is no node of this kind: HTTP 404"
    assert 0 < report["set_up"] < 10
    assert 0 < report["request"] < 10
