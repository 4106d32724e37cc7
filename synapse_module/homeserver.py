"""Writes the directory of a new homeserver: key, configuration, log configuration. Needs no Synapse."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Final

import attrs
import yaml

from pinecone_transport.errors import PineconeError
from pinecone_transport.identity import Identity
from pinecone_transport.node.keyfile import KEY_VERSION, write_key_file

MAX_SOCKET_PATH: Final = 103
"""Bytes; the shortest limit among the systems that there are, less the zero at the end."""

CONFIG_FILE: Final = "homeserver.yaml"
MODULE: Final = "synapse_module.PineconeModule"

ROOM_VERSIONS: Final = ("10", "11", "12")
"""What may be made the default of new rooms: the stable versions from Dendrite's own default on."""


class HomeserverExistsError(PineconeError):
    """The directory for a new homeserver has something in it already."""


@attrs.frozen
class Homeserver:
    """What was written: the paths are absolute."""

    server_name: str
    directory: Path
    config: Path
    signing_key: Path
    log: Path
    client_url: str
    registration_shared_secret: str


def write_homeserver(
    directory: Path,
    *,
    client_port: int,
    listen: Iterable[str] = (),
    peers: Iterable[str] = (),
    lan: bool = True,
    report_stats: bool = False,
    room_version: str | None = None,
    identity: Identity | None = None,
    settings: Mapping[str, object] | None = None,
) -> Homeserver:
    """Write a homeserver's key and configuration into an empty or new directory.

    Args:
        directory: Made if it is not there.
        client_port: TCP port on loopback for the homeserver's users.
        listen: Where overlay links may come in, ``host:port``.
        peers: Nodes to dial, ``host:port``.
        lan: Whether peers on the local networks are found without being named.
        report_stats: Whether Synapse reports statistics to its makers.
        room_version: Of new rooms, one of `ROOM_VERSIONS`; Synapse's own choice by default.
        identity: The key; a new one by default.
        settings: Further top-level settings of Synapse, put at the end of the file.

    Raises:
        HomeserverExistsError: The directory is not empty.
        KeyFileError, OSError: It cannot be written.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise HomeserverExistsError(f"{directory} is not empty")
    identity = identity or Identity.generate()
    homeserver = Homeserver(
        server_name=identity.server_name,
        directory=directory,
        config=directory / CONFIG_FILE,
        signing_key=directory / f"{identity.server_name}.signing.key",
        log=directory / "homeserver.log",
        client_url=f"http://localhost:{client_port}",
        registration_shared_secret=secrets.token_urlsafe(32),
    )
    log_config = directory / "log.config.yaml"
    control_socket = directory / "pinecone.sock"
    write_key_file(homeserver.signing_key, identity)
    _write_private(log_config, _LOG_CONFIG.substitute(log=_quoted(homeserver.log)))
    _write_private(
        homeserver.config,
        _CONFIG.substitute(
            server_name=_quoted(identity.server_name),
            signing_key=_quoted(homeserver.signing_key),
            key_version=KEY_VERSION,
            client_url=_quoted(homeserver.client_url + "/"),
            client_port=client_port,
            pid_file=_quoted(directory / "homeserver.pid"),
            log_config=_quoted(log_config),
            database=_quoted(directory / "homeserver.db"),
            media_store=_quoted(directory / "media_store"),
            registration_shared_secret=_quoted(homeserver.registration_shared_secret),
            macaroon_secret_key=_quoted(secrets.token_urlsafe(32)),
            form_secret=_quoted(secrets.token_urlsafe(32)),
            report_stats=_quoted(report_stats),
            room_version=_room_version(room_version),
            module=MODULE,
            listen=_list(listen),
            peers=_list(peers),
            lan=_quoted(lan),
            control_socket=_quoted(control_socket if len(os.fsencode(control_socket)) <= MAX_SOCKET_PATH else None),
            settings=_further(settings),
        ),
    )
    return homeserver


def _write_private(path: Path, text: str) -> None:
    """Write a new file that only its owner may read: each of ours holds a secret or says where one is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _quoted(value: object) -> str:
    """Return the value as YAML on one line; JSON is YAML, and always quotes what could pass for a number."""
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _list(values: Iterable[str]) -> str:
    return "".join(f"\n        - {_quoted(value)}" for value in values) or " []"


def _room_version(version: str | None) -> str:
    return f"default_room_version: {_quoted(version)}" if version is not None else '# default_room_version: "10"'


def _further(settings: Mapping[str, object] | None) -> str:
    if not settings:
        return ""
    return "\n# Given when this file was made.\n" + yaml.safe_dump(dict(settings), sort_keys=False)


_CONFIG: Final = Template("""\
# A Matrix homeserver on the Pinecone overlay: Synapse with the module at the end of this file.
#
# The server's name is its public key. It needs no domain, no certificate and no open port for federation, and it
# reaches other servers that are named by their keys, not those that have DNS names: those could not fetch its key.
#
# Every setting of Synapse may be added:
# https://element-hq.github.io/synapse/latest/usage/configuration/config_documentation.html

# 64 hex digits, in quotes: without them a name of digits alone would be a number. It is part of every user id and
# room alias, and cannot be changed later.
server_name: $server_name

# The private key of that name. Whoever has it is this server: keep it secret, and keep a copy in a safe place. Its
# version has to be "$key_version": Dendrite accepts no other on the overlay.
signing_key_path: $signing_key

# Where clients find this server. The default, https://<server name>/, leads nowhere.
public_baseurl: $client_url

# Clients only. Federation comes in through the overlay, not through a listener. To let clients in from elsewhere,
# put a reverse proxy with TLS in front of this port.
listeners:
  - type: http
    port: $client_port
    bind_addresses: ["127.0.0.1"]
    tls: false
    resources:
      - names: [client]

pid_file: $pid_file
log_config: $log_config
media_store_path: $media_store

# For more than a few users PostgreSQL is better:
# https://element-hq.github.io/synapse/latest/postgres.html
database:
  name: sqlite3
  args:
    database: $database

# Whoever knows the first can register users (register_new_matrix_user); the others protect log-ins and forms.
registration_shared_secret: $registration_shared_secret
macaroon_secret_key: $macaroon_secret_key
form_secret: $form_secret

# Whether to send statistics to the makers of Synapse, over the ordinary Internet.
report_stats: $report_stats

# The verify key of a server on the overlay is its name, so nobody is asked for keys. Without this line Synapse would
# ask matrix.org.
trusted_key_servers: []

# Without such a rule a room that is made public is not put on the list, and Synapse does not say so.
room_list_publication_rules:
  - action: allow

# Let other servers see that list.
allow_public_rooms_over_federation: true

# Links may be slow, and servers come and go: wait longer for an answer, and try again sooner. Above one hour between
# two attempts Synapse would drop typing notices, receipts and messages to devices.
federation:
  client_timeout: 180s
  destination_min_retry_interval: 30s
  destination_max_retry_interval: 1h

# By default Synapse serves ten requests per second and server and delays the rest by half a second each, three at a
# time; a join, or the exchange of encryption keys, is a burst of more than that.
rc_federation:
  window_size: 1000
  sleep_limit: 100
  sleep_delay: 50
  reject_limit: 500
  concurrent: 20

# Who is online is by far the most frequent thing that servers tell one another.
presence:
  enabled: false

# The version of new rooms; without this setting Synapse makes them of the newest stable one. Servers that do not know a
# room's version cannot join it: Dendrite's default is 10, and older builds of it know none above.
$room_version

# Older Dendrite builds ask for media without a signature. That media are not for everyone, which is Synapse's default,
# means that they get none that were uploaded since; take out the "#" if they should. It is then no more asked of
# clients that they are logged in, either.
# enable_authenticated_media: false

modules:
  - module: $module
    config:
      # Where overlay links may come in, such as "0.0.0.0:65432".
      listen:$listen
      # Nodes to dial, such as "192.0.2.1:65432", and to dial again whenever the link to them is lost.
      peers:$peers
      # Whether nodes on the local networks find this one, and it finds them, without being named.
      sources:
        lan:
          enabled: $lan
      # Who may be a peer: of "allow" nobody but these keys, of "deny" not these. Without lists everybody may.
      # allow: ["<64 digits>"]
      # deny: ["<64 digits>"]
      # A file with the secret of a closed mesh, whose nodes have no other peers.
      # mesh_secret_file: /path/to/secret
      # Whether other servers may search for users of this one. They find those who are in public rooms here, or, with
      # user_directory.search_all_users, all.
      profiles: true
      # A socket for `pinecone status`, which shows links, sessions and counters. Its path has to be a short one.
      control_socket: $control_socket
$settings""")

_LOG_CONFIG: Final = Template("""\
# Everything goes to the file, warnings to the terminal as well.
version: 1

formatters:
  precise:
    format: "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s"

handlers:
  file:
    class: logging.handlers.TimedRotatingFileHandler
    formatter: precise
    filename: $log
    when: midnight
    backupCount: 3
    encoding: utf8
  console:
    class: logging.StreamHandler
    formatter: precise
    level: WARNING

loggers:
  # At level DEBUG this one would write access tokens to the log.
  synapse.storage.SQL:
    level: INFO
  # The QUIC library has lines for each connection, and for whatever other servers send.
  quic:
    level: CRITICAL

root:
  level: INFO
  handlers: [file, console]

disable_existing_loggers: false
""")
