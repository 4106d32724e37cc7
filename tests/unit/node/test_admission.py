"""Who may peer: rules alone, and nodes that hold to them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.identity import Identity
from pinecone_transport.links import PipeLink, connect_nodes
from pinecone_transport.node import Node, NodeConfig, parse_node_config
from pinecone_transport.node.admission import Admission, Rules
from tests.unit.node.test_node import NodeTestCase

A, B, C = (Identity(bytes([number]) * 32) for number in (1, 2, 3))


class FakeLink:
    """As much of a link as rules look at."""

    def __init__(self, way: str = "tcp", host: str = "192.0.2.1", *, outbound: bool = False) -> None:
        self.way, self.address, self.outbound = way, f"{host}:1", outbound


def admission(**options: object) -> Admission:
    return Admission(Rules.read(parse_node_config(options)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, None),
        ({"allow": [A.server_name]}, None),
        ({"allow": [B.server_name]}, "its key is not on the allow list"),
        ({"allow": []}, "its key is not on the allow list"),
        ({"deny": [A.server_name]}, "its key is on the deny list"),
        ({"allow": [A.server_name], "deny": [A.server_name]}, "its key is on the deny list"),
        ({"sources": {"lan": {"deny": [A.server_name]}}}, "its key is on the deny list of lan"),
        ({"sources": {"lan": {"allow": [B.server_name]}}}, "its key is not on the allow list of lan"),
        ({"sources": {"tcp": {"deny": [A.server_name]}}}, None),
        ({"allow": [A.server_name], "sources": {"lan": {"allow": [A.server_name]}}}, None),
    ],
)
def test_keys_are_let_in_by_the_lists_of_all_and_of_the_source(options: dict[str, object], reason: str | None) -> None:
    rules = admission(**options)
    assert rules.before_dial("lan", A.key) == reason
    assert rules.peer_refused(FakeLink("lan"), A.key) == reason


def test_an_unknown_key_is_no_reason_not_to_dial() -> None:
    assert admission(allow=[B.server_name]).before_dial("lan", None) is None


def test_links_of_a_source_are_limited_and_so_are_dials_to_those_it_finds() -> None:
    rules = admission(sources={"lan": {"max_links": 2}})
    first, second, third = FakeLink("lan"), FakeLink("lan", outbound=True), FakeLink("lan")
    assert [rules.link_made(link) for link in (first, second)] == [None, None]
    assert rules.before_dial("lan", None) == "there are as many links by lan as there may be"
    assert rules.link_made(third) == "links over the limit of one source"
    assert rules.link_made(FakeLink("tcp")) is None
    rules.link_gone(third)
    assert rules.link_made(third) == "links over the limit of one source"
    rules.link_gone(first)
    assert rules.before_dial("lan", None) is None
    assert rules.link_made(third) is None


def test_bluetooth_devices_whose_addresses_differ_in_the_end_are_two() -> None:
    rules = admission(max_links_per_address=1)
    first, second = FakeLink("ble"), FakeLink("ble")
    first.address, second.address = "C0:00:00:00:00:01", "C0:00:00:00:00:02"
    assert [rules.link_made(link) for link in (first, second)] == [None, None]


def test_found_peers_are_dialled_only_where_there_is_room_in_all() -> None:
    rules = admission(max_links=1)
    assert rules.link_made(FakeLink()) is None
    assert rules.before_dial("lan", None) == "there are as many links as there may be"
    assert rules.link_made(FakeLink(host="192.0.2.2")) == "links over the limit"
    # One that the configuration names is not found but wanted.
    assert rules.link_made(FakeLink(outbound=True)) is None


def test_the_limits_are_for_those_who_come_in_and_those_who_were_found() -> None:
    rules = admission(max_links=3, max_links_per_address=1, sources={"mdns": {"max_links": 1}})
    found = [
        FakeLink("lan", outbound=True),
        FakeLink("lan", outbound=True),
        FakeLink("mdns", "192.0.2.2", outbound=True),
    ]
    assert [rules.link_made(link) for link in found] == [None, "links over the limit of one address", None]
    second = FakeLink("mdns", "192.0.2.3", outbound=True)
    assert rules.link_made(second) == "links over the limit of one source"
    assert rules.link_made(FakeLink("tcp", "192.0.2.4")) is None
    assert rules.link_made(FakeLink("lan", "192.0.2.5", outbound=True)) == "links over the limit"
    rules.link_gone(found[0])
    assert rules.link_made(found[1]) is None


def test_the_limit_of_an_address_is_not_for_those_whom_the_configuration_names() -> None:
    rules = admission(max_links_per_address=1)
    assert rules.link_made(FakeLink(outbound=True)) is None
    assert rules.link_made(FakeLink()) is None
    assert rules.link_made(FakeLink()) == "links over the limit of one address"
    assert rules.link_made(FakeLink(host="192.0.2.2")) is None


def test_a_source_that_is_switched_off_has_no_links() -> None:
    rules = admission()
    link = FakeLink("ws")
    assert rules.link_made(link) is None
    rules.rules = Rules.read(parse_node_config({"sources": {"ws": {"enabled": False}}}))
    assert rules.link_may_stay(link, A.key) == "its source is switched off"
    assert rules.link_made(FakeLink("ws")) == "links of a source that is switched off"


def test_proofs_are_asked_for_by_source_and_the_secret_by_all() -> None:
    rules = admission(sources={"lan": {"link_proof": True}})
    terms = rules.terms("lan")
    assert terms is not None
    assert (terms.require_proof, terms.mesh_key) == (True, None)
    assert rules.terms("tcp") is None


def test_links_that_do_not_fit_new_rules_may_not_stay(tmp_path: Path) -> None:
    rules = admission()
    link = FakeLink()
    rules.link_made(link)
    rules.rules = Rules.read(parse_node_config({"deny": [A.server_name]}))
    assert rules.link_may_stay(link, A.key) == "its key is on the deny list"
    assert rules.link_may_stay(link, B.key) is None
    assert rules.link_may_stay(link, None) is None
    for changed in ({"sources": {"tcp": {"link_proof": True}}}, {"mesh_secret_file": _secret(tmp_path)}):
        rules.rules = Rules.read(parse_node_config(changed))
        assert rules.link_may_stay(link, B.key) == "peers have to prove something else now"
        proved = FakeLink()
        rules.link_made(proved)
        assert rules.link_may_stay(proved, B.key) is None
        rules.rules = Rules.read(parse_node_config({}))
        assert rules.link_may_stay(proved, B.key) is None


def _secret(folder: Path, secret: bytes = b" sixteen bytes or more\n") -> str:
    path = folder / "secret"
    path.write_bytes(secret)
    return str(path)


def test_a_secret_is_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    rules = [admission(mesh_secret_file=_secret(tmp_path, text)) for text in (b" s" * 20, b"s" + b" s" * 19 + b"\n")]
    assert len({rule.terms("tcp").mesh_key for rule in rules}) == 1  # type: ignore[union-attr]  # all have terms


@pytest.mark.parametrize(("secret", "part"), [(b"short\n", "will not do"), (None, "cannot be read: No such file")])
def test_a_secret_that_cannot_be_had_is_one_sentence(tmp_path: Path, secret: bytes | None, part: str) -> None:
    path = _secret(tmp_path, secret) if secret is not None else str(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match=part) as raised:
        admission(mesh_secret_file=path)
    assert raised.value.path == "mesh_secret_file"


class NodeTests(NodeTestCase):
    def _linked(self, one: Node, other: Node) -> list[str]:
        self.near, _ = connect_nodes(one, other)
        self.run_for(1)
        return [link["key"] for link in one.status()["links"]]

    def test_a_peer_that_may_not_peer_is_closed_once_its_key_is_known_and_the_log_says_why(self) -> None:
        hub = self.node(1, parse_node_config({"deny": [B.server_name]}))
        seen: list[object] = []
        hub.subscribe(seen.append)
        with self.assertLogs("pinecone_transport.node", "INFO") as logged:
            assert self._linked(hub, self.node(2)) == []
        assert any(f"Refused {B.server_name}, pipe to pipe: its key is on the deny" in line for line in logged.output)
        assert hub.status()["counters"]["node"]["peers that may not peer"] == 1
        assert [type(event).__name__ for event in seen if type(event).__name__.startswith("Link")] == []
        assert self._linked(hub, self.node(3)) == [C.server_name]

    def test_refusals_do_not_fill_the_log(self) -> None:
        hub, other = self.node(1, parse_node_config({"allow": []})), self.node(2)
        with self.assertLogs("pinecone_transport.node", "INFO") as logged:
            for _ in range(20):
                self._linked(hub, other)
        assert len([line for line in logged.output if "Refused" in line]) == 5
        assert hub.status()["counters"]["node"]["peers that may not peer"] == 20

    def test_refusals_do_not_take_the_lines_of_links_that_come_up(self) -> None:
        hub, other = self.node(1, parse_node_config({"deny": [B.server_name]})), self.node(2)
        for _ in range(20):
            self._linked(hub, other)
        with self.assertLogs("pinecone_transport.node", "INFO") as logged:
            self._linked(hub, self.node(3))
        assert any(f"Link up: {C.server_name}" in line for line in logged.output)

    def test_a_closed_mesh_lets_in_whoever_knows_the_secret(self) -> None:
        with TemporaryDirectory() as folder:
            self._closed_mesh(parse_node_config({"mesh_secret_file": _secret(Path(folder))}))

    def _closed_mesh(self, config: NodeConfig) -> None:
        hub = self.node(1, config)
        assert self._linked(hub, self.node(2, config)) == [B.server_name]
        with self.assertLogs("pinecone_transport.node", "INFO"):
            assert self._linked(hub, self.node(3)) == [B.server_name]
            self.run_for(12)
        assert [link["key"] for link in hub.status()["links"]] == [B.server_name]

    def test_a_proof_is_given_by_nodes_that_do_not_ask_for_one(self) -> None:
        hub = self.node(1, parse_node_config({"sources": {"pipe": {"link_proof": True}}}))
        assert self._linked(hub, self.node(2)) == [B.server_name]
        assert isinstance(self.near, PipeLink)
