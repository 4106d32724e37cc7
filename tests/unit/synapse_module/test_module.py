"""What the module does in a worker, with Synapse's own configuration and a stand-in for the rest of the process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from synapse.config.homeserver import HomeServerConfig
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.web.iweb import IAgent
from zope.interface import implementer

from synapse_module import PineconeModule
from synapse_module.agent import MISSPELT, RefusedResponse
from synapse_module.homeserver import write_homeserver
from synapse_module.keys import FencedKeyFetcher, NameKeyFetcher
from synapse_module.module import NO_WAY_TO_MAIN

KEY = "ab" * 32
NO_SECRET: dict[str, object] = {"instance_map": {"main": {"host": "127.0.0.1", "port": 9093}}}
SECRET: dict[str, object] = {**NO_SECRET, "worker_replication_secret": "secret"}


@implementer(IAgent)
class OrdinaryAgent:
    def __init__(self) -> None:
        self.uris: list[bytes] = []

    def request(self, method: bytes, uri: bytes, headers: object = None, bodyProducer: object = None) -> Deferred[Any]:
        self.uris.append(uri)
        return Deferred()


class Holder:
    """Something with one attribute that the module replaces or changes."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


class Worker:
    """A worker's `HomeServer`, and its `ModuleApi`."""

    worker_name = "sender"
    version_string = "Synapse"

    def __init__(self, config: HomeServerConfig) -> None:
        self._hs = self
        self.config = config
        self.hostname = self.server_name = config.server.server_name
        self.signing_key = config.key.signing_key[0]
        self.ordinary = OrdinaryAgent()
        self.client = Holder(agent=self.ordinary)
        self.keyring = Holder(_key_fetchers=["database", "origin"])
        self.reactor = MemoryReactorClock()
        self.get_federation_http_client: Callable[[], Any] = lambda: self.client
        self.get_keyring: Callable[[], Any] = lambda: self.keyring
        self.get_reactor: Callable[[], Any] = lambda: self.reactor

    def request(self, name: str) -> Deferred[Any]:
        return self.client.agent.request(b"GET", f"matrix-federation://{name}/".encode())


def worker(directory: Path, settings: dict[str, object]) -> Worker:
    homeserver = write_homeserver(directory / "homeserver", client_port=8008, settings=settings)
    own = directory / "worker.yaml"
    own.write_text(yaml.safe_dump({"worker_app": "synapse.app.generic_worker", "worker_name": "sender"}))
    config = HomeServerConfig.load_config("", ["-c", str(homeserver.config), "-c", str(own)])
    ((module, options),) = config.modules.loaded_modules
    assert module is PineconeModule
    of_process = Worker(config)
    module(options, of_process)
    return of_process


@pytest.mark.parametrize("settings", [NO_SECRET, SECRET], ids=["no secret", "secret"])
def test_a_worker_has_no_node_and_asks_nobody_about_keys(tmp_path: Path, settings: dict[str, object]) -> None:
    process = worker(tmp_path, settings)
    assert not process.reactor.tcpServers
    assert not process.reactor.unixServers
    fetchers = process.keyring._key_fetchers
    assert [type(fetcher) for fetcher in fetchers] == [NameKeyFetcher, FencedKeyFetcher, FencedKeyFetcher]
    assert process.request(f"{KEY}:8448").result.length == RefusedResponse(MISSPELT).length
    process.request("example.org")
    assert process.ordinary.uris == [b"matrix-federation://example.org/"]


def test_a_worker_without_a_way_to_main_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "synapse_module")
    process = worker(tmp_path, NO_SECRET)
    assert process.request(KEY).result.length == RefusedResponse(NO_WAY_TO_MAIN).length
    assert [record.getMessage() for record in caplog.records if record.name == "synapse_module.module"] == [
        f"The Pinecone node runs in Synapse's main process; worker sender does not reach it. {NO_WAY_TO_MAIN}"
    ]
    assert process.ordinary.uris == []


def test_a_worker_with_a_way_to_main_hands_keys_to_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "synapse_module")
    process = worker(tmp_path, SECRET)
    request = process.request(KEY)
    ((host, port, *_),) = process.reactor.tcpClients
    assert (host, port) == ("127.0.0.1", 9093)
    assert not request.called
    assert process.ordinary.uris == []
    assert "worker sender reaches it through that" in caplog.text
