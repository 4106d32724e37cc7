"""The subcommands of ``pinecone`` that ask a running node by its control socket."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from pinecone_transport.errors import PineconeError

_PING_TIMEOUT: Final = 60.0


def default_control_socket() -> str:
    """Return where a node's control socket is when nothing else is said."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return str(Path(runtime) / "pinecone.sock") if runtime else str(Path.home() / ".pinecone.sock")


def sentence(error: PineconeError) -> click.ClickException:
    """Return what click prints in place of a traceback."""
    return click.ClickException(str(error))


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
        raise sentence(error) from error


_PIPE_WIDTH: Final = 200


def _print(answer: dict[str, Any], as_json: bool, view: str) -> None:
    """Print an answer as JSON, or by the function of `overlay_views` of this name."""
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from rich.console import Console

    from pinecone_transport.node import overlay_views

    console = Console(highlight=False)
    if not console.is_terminal:  # nobody's window sets a limit to what a file or a pipe takes
        console.width = _PIPE_WIDTH
    getattr(overlay_views, view)(answer, console)


@click.command()
@_asks_a_node
def status(control_socket: str | None, as_json: bool) -> None:
    """Show a running node's key, its place in the overlay, its links, sessions and counters."""
    answer = _ask(control_socket, "status")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    from pinecone_transport.node.status_view import show

    show(answer)


@click.command()
@_asks_a_node
def peers(control_socket: str | None, as_json: bool) -> None:
    """Show a running node's links, and why there is none to others that it knows of."""
    _print(_ask(control_socket, "peers"), as_json, "show_peers")


@click.command()
@_asks_a_node
def tree(control_socket: str | None, as_json: bool) -> None:
    """Show a running node's place in the overlay's tree, and that of its peers."""
    _print(_ask(control_socket, "tree"), as_json, "show_tree")


@click.command()
@_asks_a_node
def routes(control_socket: str | None, as_json: bool) -> None:
    """Show the routes by key that a running node has learnt."""
    _print(_ask(control_socket, "routes"), as_json, "show_routes")


@click.command()
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
