"""The subcommands of ``pinecone``; those of other packages are found by the entry points ``pinecone.commands``.

Heavy imports are made by the command that needs them, so that the others start at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

import click
import yaml

from pinecone_transport.errors import ConfigurationError, PineconeError

_GROUP: Final = "pinecone.commands"
_PING_TIMEOUT: Final = 60.0


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


def default_control_socket() -> str:
    """Return where a node's control socket is when nothing else is said."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return str(Path(runtime) / "pinecone.sock") if runtime else str(Path.home() / ".pinecone.sock")


def _sentence(error: PineconeError) -> click.ClickException:
    return click.ClickException(str(error))


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
        raise _sentence(error) from error
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
        raise _sentence(error) from error


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


def _asks_a_node(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that ask a running node."""
    command = click.option("--json", "as_json", is_flag=True, help="Print everything, as one JSON object.")(command)
    return click.option(
        "--control-socket",
        metavar="PATH",
        help="The running node's socket. Default: $XDG_RUNTIME_DIR/pinecone.sock, else ~/.pinecone.sock.",
    )(command)


def _ask(control_socket: str | None, command: str, **arguments: Any) -> dict[str, Any]:
    from pinecone_transport.node.control import ask

    try:
        return ask(control_socket or default_control_socket(), command, **arguments)
    except PineconeError as error:
        raise _sentence(error) from error


def _print(answer: dict[str, Any], as_json: bool, view: str) -> None:
    """Print an answer as JSON, or by the function of `overlay_views` of this name."""
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from rich.console import Console

    from pinecone_transport.node import overlay_views

    getattr(overlay_views, view)(answer, Console(highlight=False))


@pinecone.command()
@_asks_a_node
def status(control_socket: str | None, as_json: bool) -> None:
    """Show a running node's key, its place in the overlay, its links, sessions and counters."""
    answer = _ask(control_socket, "status")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from pinecone_transport.node.status_view import show

    show(answer)


@pinecone.command()
@_asks_a_node
def peers(control_socket: str | None, as_json: bool) -> None:
    """Show a running node's links, and why there is none to others that it knows of."""
    _print(_ask(control_socket, "peers"), as_json, "show_peers")


@pinecone.command()
@_asks_a_node
def tree(control_socket: str | None, as_json: bool) -> None:
    """Show a running node's place in the overlay's tree, and that of its peers."""
    _print(_ask(control_socket, "tree"), as_json, "show_tree")


@pinecone.command()
@_asks_a_node
def routes(control_socket: str | None, as_json: bool) -> None:
    """Show the routes by key that a running node has learnt."""
    _print(_ask(control_socket, "routes"), as_json, "show_routes")


@pinecone.command()
@click.argument("key")
@_asks_a_node
def ping(key: str, control_socket: str | None, as_json: bool) -> None:
    """Have a running node dial the node with this KEY, and time the session's set-up and one request.

    KEY is a server name: 64 lower-case hex digits. Ends with status 1 if the node was not reached.
    """
    answer = _ask(control_socket, "ping", key=key, timeout=_PING_TIMEOUT)
    _print(answer, as_json, "show_ping")
    if answer["set_up"] is None:
        raise SystemExit(1)
