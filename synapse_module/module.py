"""What ``modules:`` in ``homeserver.yaml`` names: joins Synapse, the endpoints and a node."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Final, NoReturn, final

from synapse.module_api import ModuleApi, make_deferred_yieldable
from synapse.module_api.errors import ConfigError
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.web.client import readBody
from twisted.web.iweb import IAgent

from pinecone_transport.errors import ConfigurationError
from pinecone_transport.node.lock import lock_key_file
from pinecone_transport.node.node import Node
from pinecone_transport.node.reload import reload_options
from synapse_module.agent import SCHEME, FederationAgent, Outcome, ignore_outcome
from synapse_module.config import DNS_NAMED, ModuleConfig, NodeKey, node_key, parse_options
from synapse_module.greeting import Greetings
from synapse_module.keys import FencedKeyFetcher, NameKeyFetcher
from synapse_module.listener import OverlaySite
from synapse_module.synapse_internals import PreserveLoggingContext, SynapseInternals
from synapse_module.wakeup import Wakeups
from synapse_module.websocket import PeeringResource
from twisted_endpoints import PineconeAgent, PineconeServerEndpoint
from twisted_endpoints.ping import answer_pings, offer_pings

logger = logging.getLogger(__name__)

NO_WAY_TO_MAIN: Final = (
    "Servers on the Pinecone overlay are reached from Synapse's main process only, and this worker has no way to it: "
    "worker_replication_secret is not set"
)


@final
class PineconeModule:
    """Runs a node of the overlay inside Synapse, and federation over it if the homeserver is named by its key.

    Synapse makes one in each of its processes, with the reactor running and nothing listening yet. The node runs in
    the main process; the others know that keys are names, and hand requests for them to the main process.
    """

    def __init__(self, config: ModuleConfig, api: ModuleApi) -> None:
        self._api: Final = api
        self._internals: Final = SynapseInternals(api)
        self._internals.replace_key_fetchers(
            lambda fetchers: [NameKeyFetcher(), *(FencedKeyFetcher(fetcher) for fetcher in fetchers)]
        )
        if api.worker_name is not None:
            self._federate_through_main(api.worker_name)
            return
        try:
            key = node_key(
                api.server_name,
                self._internals.signing_seed,
                self._internals.signing_key_file(),
                config.key_file,
            )
            # Held until the process ends.
            self._lock = lock_key_file(key.path)
            self._start(config, key)
        except ConfigurationError as error:
            _give_up(error)

    @staticmethod
    def parse_config(config: Mapping[str, Any]) -> ModuleConfig:
        """Check the options below ``config``; called by Synapse before anything runs.

        Raises:
            ConfigError: One of them is unknown or wrong.
        """
        try:
            return parse_options(config)
        except ConfigurationError as error:
            # A worker prints of this error nothing but its path.
            logger.error("PineconeModule: %s", error)
            raise ConfigError(error.sentence, error.path.split(".")) from None

    def _send_over(self, overlay: IAgent | str, outcome: Outcome = ignore_outcome) -> None:
        self._internals.federation_agent = FederationAgent(self._internals.federation_agent, overlay, outcome)

    def _federate_through_main(self, worker: str) -> None:
        through_main = self._internals.agent_through_main()
        self._send_over(through_main or NO_WAY_TO_MAIN)
        logger.info(
            "The Pinecone node runs in Synapse's main process; worker %s %s",
            worker,
            "reaches it through that" if through_main else f"does not reach it. {NO_WAY_TO_MAIN}",
        )

    def _start(self, config: ModuleConfig, key: NodeKey) -> None:
        self._node = Node(key.identity, config, self._internals.reactor)
        self._port: IListeningPort | None = None
        self._overlay: PineconeAgent | None = None
        # The node lives longer than the start-up that this is part of, and must not be booked on it.
        with PreserveLoggingContext():
            self._node.startService()
        self._take_websockets(config)
        self._internals.on_shutdown(self._stop)
        self._internals.on_sighup(self._reload)
        logger.info("Pinecone node %s is up", key.identity.server_name)
        if key.is_homeserver:
            self._federate(config)
        else:
            with PreserveLoggingContext():
                answer_pings(self._node).addCallback(self._listening)
            self._send_over(DNS_NAMED)
            logger.info("%s. Servers named by their keys are refused", DNS_NAMED)

    def _take_websockets(self, config: ModuleConfig) -> None:
        path = config.websocket_path
        if path is None:
            return
        if find_spec("autobahn") is None:
            logger.info("Peers cannot come in by WebSocket: pip install 'synapse-pinecone[websocket]' to let them")
            return
        self._api.register_web_resource(path, PeeringResource(self._node, self._internals.reactor))

    def _reload(self) -> None:
        with PreserveLoggingContext():
            reload_options(self._node, lambda: parse_options(self._internals.options_of(PineconeModule)))

    def _federate(self, config: ModuleConfig) -> None:
        self._overlay = overlay = PineconeAgent(self._node)
        homeserver = _Homeserver(self._api, self._internals, overlay)
        wakeups = Wakeups(homeserver)
        greetings = Greetings(homeserver, wakeups.server_may_be_up)
        self._node.subscribe(wakeups.overlay_event)
        self._node.subscribe(greetings.overlay_event)
        self._send_over(overlay, wakeups.request_ended)
        site = OverlaySite(self._internals, wakeups.server_may_be_up, profiles=config.profiles)
        with PreserveLoggingContext():
            PineconeServerEndpoint(self._node).listen(site).addCallback(self._listening)
        offer_pings(self._node)

    def _listening(self, port: IListeningPort) -> None:
        self._port = port

    def _stop(self) -> Deferred[None]:
        """Close sessions and links, so that peers notice at once. The second call has nothing left to do."""
        if not self._node.running:
            return succeed(None)
        if self._port is not None:
            self._port.stopListening()
        if self._overlay is not None:
            self._overlay.pool.closeCachedConnections()
        return self._node.stopService()


@final
class _Homeserver:
    """Synapse as `Wakeups` and `Greetings` want it."""

    def __init__(self, api: ModuleApi, internals: SynapseInternals, overlay: IAgent) -> None:
        self._api = api
        self._overlay = overlay
        self.seconds = time.monotonic
        self.sleep = api.sleep
        self.is_backed_off = internals.is_backed_off
        self.backed_off_servers = internals.backed_off_servers
        self.known_servers = internals.known_servers
        self.forget_failures = internals.forget_failures
        self.server_is_up = internals.server_is_up

    def run_in_background(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run the task with a logging context of its own."""
        self._api.run_as_background_process("pinecone", task)

    async def together(self, tasks: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Run the tasks at the same time, each with a logging context of its own; return when all are done."""
        running = [self._api.run_as_background_process("pinecone", task) for task in tasks]
        await make_deferred_yieldable(DeferredList(running))

    async def call(self, server_name: str) -> bool:
        """Ask the server for its version; tell whether it has answered."""
        uri = f"{SCHEME.decode()}://{server_name}/_matrix/federation/v1/version".encode()
        try:
            with PreserveLoggingContext():
                answer = self._overlay.request(b"GET", uri, None, None).addCallback(readBody)
            await make_deferred_yieldable(answer)
        except Exception as error:
            # Whatever it is: the server is not there, and will be called when there is something to say.
            logger.debug("%s does not answer: %s", server_name, error)
            return False
        return True


def _give_up(error: ConfigurationError) -> NoReturn:
    """End the process with one sentence. Synapse would do the same to an exception, but print its traceback too."""
    path = error.path
    if path not in ("", "server_name"):
        path = f"modules.<PineconeModule>.config.{path}"
    sentence = f"Error in configuration at '{path}': {error.sentence}" if path else error.sentence
    logger.critical("%s", sentence)
    sys.__stderr__.write(f"{sentence}\n")  # type: ignore[union-attr]  # None only where Python has no stderr at all
    logging.shutdown()
    os._exit(1)
