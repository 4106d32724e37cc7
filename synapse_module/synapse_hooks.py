"""Every part of Synapse that this package uses and that Synapse does not promise to keep.

Nothing of Synapse is imported until `missing_hooks` is called, so that a Synapse that has moved something gives one
sentence that names it. The uses are in `synapse_internals` and nowhere else.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import pkgutil
from typing import Final

import attrs

OLDEST_SYNAPSE: Final = (1, 160)
TESTED_SYNAPSE: Final = "1.163"


@attrs.frozen
class Hook:
    """Something importable, and the names of parameters that we give by name, or whose order matters to us."""

    name: str
    parameters: tuple[str, ...] = ()

    def is_there(self) -> bool:
        """Tell whether the installed Synapse has it."""
        try:
            found = pkgutil.resolve_name(self.name)
        except (ImportError, AttributeError):
            return False
        return not self.parameters or set(self.parameters) <= set(inspect.signature(found).parameters)


HOOKS: Final = (
    # The agent that every call of another homeserver goes through.
    Hook("synapse.server:HomeServer.get_federation_http_client"),
    Hook("synapse.http.matrixfederationclient:MatrixFederationHttpClient"),
    # The way from a worker to the main process.
    Hook(
        "synapse.http.proxyagent:ProxyAgent", ("reactor", "federation_proxy_locations", "federation_proxy_credentials")
    ),
    Hook("synapse.http.connectproxyclient:BearerProxyCredentials"),
    # The list of key fetchers, tried in order.
    Hook("synapse.server:HomeServer.get_keyring"),
    Hook("synapse.crypto.keyring:KeyFetcher.get_keys", ("self", "server_name", "key_ids", "minimum_valid_until_ts")),
    Hook("synapse.crypto.keyring:KeyFetcher.shutdown"),
    Hook("synapse.storage.keys:FetchKeyResult", ("verify_key", "valid_until_ts")),
    Hook("signedjson.key:decode_verify_key_bytes", ("key_id", "key_bytes")),
    # The servlets of the federation API, and who checks what they are asked.
    Hook("synapse.federation.transport.server:TransportLayerServer", ("hs", "servlet_groups")),
    Hook("synapse.federation.transport.server:TransportLayerServer.register_servlets"),
    Hook("synapse.federation.transport.server._base:Authenticator"),
    Hook(
        "synapse.federation.transport.server._base:Authenticator.authenticate_request", ("self", "request", "content")
    ),
    Hook("synapse.federation.transport.server._base:AuthenticationError"),
    Hook("synapse.federation.transport.server._base:_parse_auth_header"),
    Hook("synapse.api.errors:Codes.UNAUTHORIZED"),
    Hook("synapse.api.errors:Codes.BAD_JSON"),
    Hook("synapse.api.errors:SynapseError", ("code", "msg", "errcode")),
    Hook("synapse.api.errors:NotFoundError"),
    Hook("synapse.api.errors:FederationDeniedError", ("destination",)),
    # What we serve beside them: media the old way, and the search for users.
    Hook("synapse.http.server:JsonResource", ("hs", "canonical_json")),
    Hook("synapse.http.servlet:RestServlet.register", ("self", "http_server")),
    Hook("synapse.http.servlet:parse_json_object_from_request", ("request",)),
    Hook("synapse.http.servlet:parse_json_value_from_request", ("request", "allow_empty_body")),
    Hook("synapse.rest.media.download_resource:DownloadResource", ("hs", "media_repo")),
    Hook(
        "synapse.rest.media.download_resource:DownloadResource.on_GET",
        ("self", "request", "server_name", "media_id", "file_name"),
    ),
    Hook("synapse.server:HomeServer.get_media_repository"),
    Hook("synapse.media.media_repository:MediaRepository"),
    Hook("synapse.server:HomeServer.get_user_directory_handler"),
    Hook(
        "synapse.handlers.user_directory:UserDirectoryHandler.search_users", ("self", "user_id", "search_term", "limit")
    ),
    Hook("synapse.api.ratelimiting:Ratelimiter", ("store", "clock", "cfg")),
    Hook("synapse.api.ratelimiting:Ratelimiter.ratelimit", ("self", "requester", "key")),
    Hook("synapse.server:HomeServer.get_clock"),
    # The site that serves them.
    Hook(
        "synapse.http.site:SynapseSite",
        (
            "logger_name",
            "site_tag",
            "config",
            "resource",
            "server_version_string",
            "max_request_body_size",
            "reactor",
            "hs",
        ),
    ),
    Hook("synapse.http.site:SynapseSite.buildProtocol", ("self", "addr")),
    Hook("synapse.http.site:SynapseProtocol", ("site", "our_server_name", "max_request_body_size")),
    Hook("synapse.http.site:SynapseRequest.getClientAddress"),
    Hook("synapse.http.server:OptionsResource"),
    Hook("synapse.util.httpresourcetree:create_resource_tree", ("desired_tree", "root_resource")),
    Hook("synapse.config.server:TCPListenerConfig", ("port", "bind_addresses", "type", "http_options")),
    Hook("synapse.config.server:HttpListenerConfig", ("tag",)),
    Hook("synapse.app._base:max_request_body_size"),
    # Trying again now.
    Hook(
        "synapse.storage.databases.main.transactions:TransactionWorkerStore.set_destination_retry_timings",
        ("self", "destination", "failure_ts", "retry_last_ts", "retry_interval"),
    ),
    Hook("synapse.server:HomeServer.get_notifier"),
    Hook("synapse.notifier:Notifier.notify_remote_server_up"),
    Hook("synapse.server:HomeServer.get_replication_command_handler"),
    Hook("synapse.replication.tcp.handler:ReplicationCommandHandler.send_remote_server_up"),
    # The homeserver itself: its reactor, its key, its life.
    Hook("synapse.server:HomeServer.get_reactor"),
    Hook("synapse.server:HomeServer.get_datastores"),
    Hook("synapse.server:HomeServer.register_async_shutdown_handler", ("self", "phase", "eventType", "shutdown_func")),
    Hook("synapse.app._base:register_sighup"),
    Hook("synapse.config._base:read_config_files"),
    Hook("synapse.logging.context:PreserveLoggingContext"),
)
"""What can be looked up without a homeserver."""


def missing_hooks() -> list[str]:
    """Return the names of the hooks that the installed Synapse does not have, in the order of `HOOKS`."""
    return [hook.name for hook in HOOKS if not hook.is_there()]


def synapse_version() -> str:
    """Return the version of the installed Synapse.

    Raises:
        ImportError: There is none.
    """
    try:
        return importlib.metadata.version("matrix-synapse")
    except importlib.metadata.PackageNotFoundError:
        raise ImportError("Synapse is not installed: pip install 'synapse-pinecone[synapse]'") from None


def check_hooks() -> None:
    """Make sure that this Synapse is one that the module can live in.

    Raises:
        ImportError: It is too old, or has moved something that the module needs.
    """
    version = synapse_version()
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SYNAPSE:
        oldest = ".".join(str(part) for part in OLDEST_SYNAPSE)
        raise ImportError(f"Synapse {version} is too old for synapse_module, which needs {oldest} or later")
    missing = missing_hooks()
    if missing:
        raise ImportError(
            f"Synapse {version} has moved what synapse_module needs ({', '.join(missing)}); tested is {TESTED_SYNAPSE}"
        )
