"""The subcommands of ``pinecone``; those of other packages are found by the entry points ``pinecone.commands``.

Heavy imports are made by the command that needs them, so that the others start at once.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import click
import yaml

from pinecone_transport.errors import ConfigurationError, PineconeError
from pinecone_transport.node.asking_commands import default_control_socket, peers, ping, routes, sentence, status, tree

_GROUP: Final = "pinecone.commands"


class _Commands(click.Group):
    """Our own commands and those of other packages, which are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(found.name for found in entry_points(group=_GROUP))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        for found in entry_points(group=_GROUP, name=cmd_name):
            return _load(found)
        return None


def _load(found: EntryPoint) -> click.Command:
    try:
        command = found.load()
    except (ImportError, AttributeError) as error:
        return _unavailable(found.name, getattr(error, "name", None) or str(error))
    if not isinstance(command, click.Command):
        return _unavailable(found.name, found.value)
    return command


def _unavailable(name: str, missing: str) -> click.Command:
    def say_so(**_: object) -> None:
        raise click.ClickException(
            f"`pinecone {name}` needs {missing}, which is not there: pip install 'synapse-pinecone[synapse]'"
        )

    return click.Command(
        name,
        callback=say_so,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True},
        help=f"Not available: needs {missing}.",
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="synapse-pinecone")
def pinecone() -> None:
    """Matrix federation over the Pinecone overlay: nodes, keys, and Synapse homeservers on it."""


@pinecone.command()
@click.argument("path", type=click.Path(dir_okay=False))
def keygen(path: str) -> None:
    """Make a node's key, write it to PATH, and print the name that it gives.

    The file is a Synapse signing key file, readable by its owner alone. The name is the node's address on the overlay
    and, for a homeserver, its server name. An existing file is never overwritten: whoever loses the key loses the
    name.
    """
    from pinecone_transport.identity import Identity
    from pinecone_transport.node.keyfile import write_key_file

    identity = Identity.generate()
    try:
        write_key_file(path, identity)
    except PineconeError as error:
        raise sentence(error) from error
    click.echo(identity.server_name)


@pinecone.command()
@click.option("--key-file", metavar="PATH", help="The node's key; made if it is not there. Needed here or in --config.")
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS:PORT",
    help="Listen for peerings here; may be given several times. [::]:65432 is every address of this machine; port 0 "
    "lets the system choose.",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="HOST:PORT",
    help="Keep a peering with the node there; may be given several times.",
)
@click.option(
    "--control-socket",
    metavar="PATH",
    help="Unix socket for `pinecone status`. Default: $XDG_RUNTIME_DIR/pinecone.sock, else ~/.pinecone.sock.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="PATH",
    help="YAML file with options: those of the homeserver's module that are about the node. Options given here are "
    "added to its lists and go before its other options.",
)
@click.option(
    "--hop-limiting/--no-hop-limiting",
    default=None,
    help="Whether frames lose a hop at each node, as in Dendrite's networks. On by default.",
)
@click.option(
    "--lan/--no-lan",
    default=None,
    help="Whether peers on the local networks are found without being named. On by default.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def node(
    *,
    key_file: str | None,
    listen: tuple[str, ...],
    peers: tuple[str, ...],
    control_socket: str | None,
    config_file: str | None,
    hop_limiting: bool | None,
    lan: bool | None,
    verbose: bool,
) -> None:
    """Run a node of the overlay without a homeserver: a relay.

    Homeservers that cannot reach one another directly do so through it. It keeps nothing but its key.

    For example: pinecone node --key-file relay.key --listen '[::]:65432'

    SIGTERM and Ctrl-C end it. SIGHUP dials lost peers again at once and has the --config file read again.
    """
    from pinecone_transport.node.relay import run_relay

    def read_options() -> dict[str, Any]:
        options = _read_config(config_file)
        given = {"key_file": key_file, "control_socket": control_socket, "hop_limiting": hop_limiting}
        options.update({name: value for name, value in given.items() if value is not None})
        options.setdefault("control_socket", default_control_socket())
        for name, more in (("listen", listen), ("peers", peers)):
            if more:
                options[name] = [*_list(options.get(name), name), *more]
        return options if lan is None else _with_lan(options, lan)

    try:
        run_relay(read_options, say=click.echo, verbose=verbose)
    except PineconeError as error:
        raise sentence(error) from error


def _read_config(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            options = yaml.safe_load(file)
    except OSError as error:
        raise ConfigurationError("", f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError("", f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise ConfigurationError("", f"{path} should have one option a line, such as `listen: ['[::]:65432']`.")
    return options


def _with_lan(options: dict[str, Any], enabled: bool) -> dict[str, Any]:
    """Return the options with those of the local network switched on or off; mistakes in them are left in."""
    sources = options.get("sources") or {}
    lan = sources.get("lan") or {} if isinstance(sources, dict) else None
    if not isinstance(lan, dict):
        return options
    return {**options, "sources": {**sources, "lan": {**lan, "enabled": enabled}}}


def _list(value: object, name: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ConfigurationError(name, f"should be a list of addresses, not {value!r}.")
    return value


for _command in (status, peers, tree, routes, ping):
    pinecone.add_command(_command)
