"""The Go peer's programs, built once and kept, and the nodes of a test, stopped at its end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from benchmarks.go_peer import GoPeerMissingError, build_go_peer
from tests.support.mixed_network import MixedNetwork


@pytest.fixture(scope="session")
def go_peers() -> dict[str, str]:
    """Paths of the programs by the version of quic-go in them. Where CI is true, there is no skipping."""
    try:
        return build_go_peer()
    except GoPeerMissingError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


@pytest_twisted.async_yield_fixture
async def network(go_peers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MixedNetwork]:
    made = MixedNetwork(go_peers, tmp_path_factory.mktemp("n"))  # a short name: sockets are there
    yield made
    await made.stop_all()
    assert made.faults() == []
