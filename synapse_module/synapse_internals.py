"""What of Synapse `ModuleApi` does not offer: the one place that touches it. `synapse_hooks` has the list.

Other files of this package import Synapse's names from here, and nothing else of Synapse but `synapse.module_api`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from sqlite3 import Cursor
from typing import Any, Final, final

import attrs
from signedjson.key import decode_verify_key_bytes
from synapse.api.errors import Codes, FederationDeniedError, NotFoundError, SynapseError
from synapse.api.ratelimiting import Ratelimiter
from synapse.app._base import max_request_body_size, register_sighup
from synapse.config._base import read_config_files
from synapse.config.server import HttpListenerConfig, TCPListenerConfig
from synapse.crypto.keyring import KeyFetcher
from synapse.federation.transport.server import TransportLayerServer
from synapse.federation.transport.server._base import AuthenticationError, Authenticator, _parse_auth_header
from synapse.http.connectproxyclient import BearerProxyCredentials
from synapse.http.proxyagent import ProxyAgent
from synapse.http.server import JsonResource, OptionsResource
from synapse.http.servlet import RestServlet, parse_json_object_from_request, parse_json_value_from_request
from synapse.http.site import SynapseProtocol, SynapseRequest, SynapseSite
from synapse.logging.context import PreserveLoggingContext
from synapse.media.media_repository import MediaRepository
from synapse.module_api import LoggingTransaction, ModuleApi
from synapse.rest.media.download_resource import DownloadResource
from synapse.server import HomeServer
from synapse.storage.keys import FetchKeyResult
from synapse.util.httpresourcetree import create_resource_tree
from twisted.internet.defer import Deferred
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource

from pinecone_transport.errors import ConfigurationError

parse_auth_header = _parse_auth_header

MAX_BACKED_OFF: Final = 1000
"""Servers that are tried again at once when a link comes up; the others when they are heard of, or at their time."""

__all__ = [
    "AuthenticationError",
    "Authenticator",
    "Codes",
    "DownloadResource",
    "FetchKeyResult",
    "FoundUser",
    "HomeServer",
    "JsonResource",
    "KeyFetcher",
    "NotFoundError",
    "OptionsResource",
    "PreserveLoggingContext",
    "RestServlet",
    "SynapseError",
    "SynapseInternals",
    "SynapseProtocol",
    "SynapseRequest",
    "SynapseSite",
    "TransportLayerServer",
    "create_resource_tree",
    "decode_verify_key_bytes",
    "parse_auth_header",
    "parse_json_object_from_request",
    "parse_json_value_from_request",
]


@attrs.frozen
class FoundUser:
    """A user of this homeserver in its directory; what he has not set is empty."""

    localpart: str
    display_name: str
    avatar_url: str


@final
class SynapseInternals:
    """A running homeserver, as far as `ModuleApi` does not show it.

    Raises:
        ImportError: This Synapse has not got something that the module needs.
    """

    def __init__(self, api: ModuleApi) -> None:
        self._api: Final = api
        self.hs: Final[HomeServer] = _there(api, "_hs")
        for name in ("signing_key", "hostname", "config", "version_string"):
            _there(self.hs, name)
        self._federation_client: Final = self.hs.get_federation_http_client()
        _there(self._federation_client, "agent")
        self._keyring: Final = self.hs.get_keyring()
        _there(self._keyring, "_key_fetchers")
        self._searches: Ratelimiter | None = None

    @property
    def reactor(self) -> Any:
        """Twisted's reactor, as Synapse has it."""
        return self.hs.get_reactor()

    @property
    def signing_seed(self) -> bytes:
        """The private key that the homeserver signs with, 32 bytes."""
        return bytes(self.hs.signing_key)

    def signing_key_file(self) -> Path:
        """Return the file that the signing key is in: its own, or a configuration file where it stands there."""
        files = self.hs.config.config_files
        settings = read_config_files(files)
        if "signing_key" in settings:
            return Path(files[-1])
        own = f"{self.hs.hostname}.signing.key"
        return Path(settings.get("signing_key_path") or os.path.join(os.path.dirname(files[-1]), own))

    def options_of(self, module: type) -> Mapping[str, Any]:
        """Return what the configuration files say now below ``config`` of the module that is this class.

        Raises:
            ConfigurationError: They cannot be read, or do not name the module any more.
        """
        try:
            settings = read_config_files(self.hs.config.config_files)
            for entry in settings.get("modules") or []:
                folder, _, name = entry["module"].rpartition(".")
                if getattr(import_module(folder), name, None) is module:
                    return entry.get("config") or {}
        except Exception as error:
            # Synapse's own reader and PyYAML each have errors of their own, and the file may be anything.
            raise ConfigurationError("", f"Synapse's configuration cannot be read: {error}.") from None
        raise ConfigurationError(
            "modules", f"{module.__name__} is not there any more; that counts from the next start."
        )

    @property
    def federation_agent(self) -> IAgent:
        """What every request to another homeserver goes through."""
        agent: IAgent = self._federation_client.agent
        return agent

    @federation_agent.setter
    def federation_agent(self, agent: IAgent) -> None:
        self._federation_client.agent = agent

    def agent_through_main(self) -> IAgent | None:
        """Return a worker's agent that hands requests to the main process; None without a secret between the two."""
        worker = self.hs.config.worker
        if worker.worker_replication_secret is None:
            return None
        agent: IAgent = ProxyAgent(
            reactor=self.reactor,
            # "main" in homeserver.yaml, where Synapse insists on it; it is renamed when read.
            federation_proxy_locations=[worker.instance_map["master"]],
            federation_proxy_credentials=BearerProxyCredentials(worker.worker_replication_secret.encode("ascii")),
        )
        return agent

    def replace_key_fetchers(self, replace: Callable[[list[KeyFetcher]], list[Any]]) -> None:
        """Have others asked for verify keys than those that Synapse asks; the first that knows a key wins."""
        self._keyring._key_fetchers[:] = replace(list(self._keyring._key_fetchers))

    def site_arguments(self, tag: str) -> dict[str, Any]:
        """Return what a `SynapseSite` needs besides its resources; it is never bound to a port."""
        return {
            "logger_name": f"synapse.access.{tag}",
            "site_tag": tag,
            "config": TCPListenerConfig(
                port=0, bind_addresses=[], type="http", http_options=HttpListenerConfig(tag=tag)
            ),
            "server_version_string": self.hs.version_string,
            "max_request_body_size": max_request_body_size(self.hs.config),
            "reactor": self.reactor,
            "hs": self.hs,
        }

    @property
    def server_name(self) -> str:
        """The homeserver's name."""
        return self.hs.hostname

    @property
    def media_repository(self) -> MediaRepository:
        """Where the homeserver's media are; only if it `has_media`."""
        return self.hs.get_media_repository()

    @property
    def has_media(self) -> bool:
        """Whether this process can serve media."""
        return bool(self.hs.config.media.can_load_media_repo)

    def resource_of(self, servlet: RestServlet) -> JsonResource:
        """Return a resource that serves the servlet's paths and answers 404 to others."""
        resource = JsonResource(self.hs, canonical_json=False)
        servlet.register(resource)
        return resource

    def refuse_unless_allowed(self, peer: str) -> None:
        """Make sure that the administrator lets this server in, where no authenticator does.

        Raises:
            SynapseError: He does not.
        """
        whitelist = self.hs.config.federation.federation_domain_whitelist
        if whitelist is not None and peer not in whitelist:
            raise FederationDeniedError(peer)

    async def search_own_users(self, peer: str, text: str, limit: int) -> list[FoundUser]:
        """Return users of this homeserver that its directory shows to one who shares no private room with them.

        None where the directory is closed, or profiles are not for other servers. A peer may search as often as a user.

        Args:
            peer: The server that asks.
            text: Its words are looked for; there is one at least.
            limit: How many users at most.

        Raises:
            SynapseError: The peer has asked too often.
        """
        config = self.hs.config
        if (
            not config.userdirectory.user_directory_search_enabled
            or not config.federation.allow_profile_lookup_over_federation
            or config.server.limit_profile_requests_to_users_who_share_rooms
        ):
            return []
        if self._searches is None:
            store, settings = self.hs.get_datastores().main, config.ratelimiting.rc_user_directory
            self._searches = Ratelimiter(store=store, clock=self.hs.get_clock(), cfg=settings)
        await self._searches.ratelimit(None, key=peer)
        # The directory has users of other servers, too, but each user's server is a word of his entry.
        found = await self.hs.get_user_directory_handler().search_users(
            f"@:{peer}", f"{self.server_name} {text}", limit
        )
        own = f":{self.server_name}"
        return [
            FoundUser(user["user_id"][1 : -len(own)], user["display_name"] or "", user["avatar_url"] or "")
            for user in found["results"]
            if user["user_id"].endswith(own)
        ]

    async def is_backed_off(self, server_name: str) -> bool:
        """Tell whether the database says that the server has failed and is not to be called yet."""

        def select(txn: LoggingTransaction) -> bool:
            txn.execute("SELECT 1 FROM destinations WHERE destination = ? AND retry_last_ts > 0", (server_name,))
            return txn.fetchone() is not None

        return await self._api.run_db_interaction("pinecone_is_backed_off", select)

    async def backed_off_servers(self) -> list[str]:
        """Return the names of the servers of which the database says so, `MAX_BACKED_OFF` at most."""

        def select(txn: LoggingTransaction) -> list[str]:
            txn.execute("SELECT destination FROM destinations WHERE retry_last_ts > 0 LIMIT ?", (MAX_BACKED_OFF,))
            return [row[0] for row in txn]

        return await self._api.run_db_interaction("pinecone_backed_off_servers", select)

    async def known_servers(self, limit: int) -> list[str]:
        """Return names of the overlay's length that we have to do with: see `select_known_servers`."""

        def select(txn: LoggingTransaction) -> list[str]:
            return select_known_servers(txn, self.hs.hostname, limit)

        return await self._api.run_db_interaction("pinecone_known_servers", select)

    async def forget_failures(self, server_name: str) -> None:
        """Take back that requests to the server failed: it may be called at once."""
        await self.hs.get_datastores().main.set_destination_retry_timings(server_name, None, 0, 0)

    def server_is_up(self, server_name: str) -> None:
        """Wake what waits for the server: its queue, and requests asleep between two tries; in all processes."""
        self.hs.get_notifier().notify_remote_server_up(server_name)
        if self.hs.config.redis.redis_enabled:
            self.hs.get_replication_command_handler().send_remote_server_up(server_name)

    def on_sighup(self, reload: Callable[[], None]) -> None:
        """Have ``reload`` called whenever the process is told to read its files again."""
        register_sighup(self.hs, reload)

    def on_shutdown(self, stop: Callable[[], Deferred[None]]) -> None:
        """Have ``stop`` called before the homeserver stops, and waited for. It may be called twice."""
        # Only the reactor itself waits for the Deferred; Synapse's own way is for homeservers that end before their
        # process does.
        self.reactor.addSystemEventTrigger("before", "shutdown", stop)
        self.hs.register_async_shutdown_handler(phase="before", eventType="shutdown", shutdown_func=stop)


def select_known_servers(txn: LoggingTransaction | Cursor, own_name: str, limit: int) -> list[str]:
    """Return names as long as a key that events were sent to, the last one first, then those of rooms' other members.

    Who only joined a room, and never sent anything there, has sent no events to the others in it.
    """
    key = 64 * "_"  # a LIKE pattern: so many characters
    order = "COALESCE(last_successful_stream_ordering, 0) DESC"
    txn.execute(f"SELECT destination FROM destinations WHERE destination LIKE ? ORDER BY {order} LIMIT ?", (key, limit))
    names = [row[0] for row in txn]
    txn.execute(
        "SELECT DISTINCT substr(state_key, length(state_key) - 63) FROM current_state_events"
        " WHERE type = 'm.room.member' AND membership = 'join' AND state_key LIKE ? AND NOT state_key LIKE ? LIMIT ?",
        ("%:" + key, "%:" + own_name, limit),
    )
    return list(dict.fromkeys([*names, *(row[0] for row in txn)]))[:limit]


def resource_tree(resources: dict[str, Resource]) -> Resource:
    """Join resources by their paths."""
    return create_resource_tree(resources, OptionsResource())  # type: ignore[no-untyped-call]  # Twisted's Resource


def _there(holder: object, name: str) -> Any:
    """Return the attribute, or say in one sentence that Synapse has moved it."""
    try:
        return getattr(holder, name)
    except AttributeError:
        raise ImportError(
            f"this Synapse has moved {type(holder).__name__}.{name}, which synapse_module needs"
        ) from None
