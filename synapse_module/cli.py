"""The parts of the ``pinecone`` command that are about homeservers: ``new-homeserver`` and ``check``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from pinecone_transport.errors import PineconeError
from pinecone_transport.links import parse_listen, parse_peer
from synapse_module.check import check_homeserver
from synapse_module.homeserver import ROOM_VERSIONS, Homeserver, write_homeserver
from synapse_module.overlay_settings import Finding, Severity

_COLOURS: Final = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def _checked(
    parse: Callable[[str], object],
) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], tuple[str, ...]]:
    """Return a click callback that takes the addresses that ``parse`` takes, as they were written."""

    def check_addresses(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                parse(text)
            except ValueError as error:
                raise click.BadParameter(f"{error}.") from None
        return texts

    return check_addresses


@click.command("new-homeserver")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--port",
    default=8008,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="TCP port on this computer for the users' clients.",
)
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    callback=_checked(parse_listen),
    help="Let other nodes connect here, such as 0.0.0.0:65432. May be given several times.",
)
@click.option(
    "--peer",
    multiple=True,
    metavar="HOST:PORT",
    callback=_checked(parse_peer),
    help="Connect to this node, such as relay.example.org:65432, and stay connected. May be given several times.",
)
@click.option(
    "--lan/--no-lan",
    default=True,
    show_default=True,
    help="Whether servers on the local networks are found without being named.",
)
@click.option(
    "--report-stats",
    type=click.Choice(["yes", "no"]),
    default="no",
    show_default=True,
    help="Whether Synapse sends statistics to its makers.",
)
@click.option(
    "--room-version",
    type=click.Choice(ROOM_VERSIONS),
    help="Version of new rooms; older Dendrite servers know none above 10. [default: Synapse's own choice]",
)
def new_homeserver(  # noqa: PLR0917  # click gives them by name
    directory: Path,
    port: int,
    listen: tuple[str, ...],
    peer: tuple[str, ...],
    lan: bool,
    report_stats: str,
    room_version: str | None,
) -> None:
    """Make a homeserver for the Pinecone overlay in DIRECTORY.

    Makes its key, which is its name, and a commented homeserver.yaml that works as it is. DIRECTORY is new or empty;
    afterwards the whole homeserver is in it. The server reaches other servers that are named by their keys, not those
    that have DNS names.
    """
    try:
        homeserver = write_homeserver(
            directory,
            client_port=port,
            listen=listen,
            peers=peer,
            lan=lan,
            report_stats=report_stats == "yes",
            room_version=room_version,
        )
    except PineconeError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or directory} cannot be written: {error.strerror}.") from None
    click.echo(_what_next(homeserver, has_neighbours=bool(listen or peer), lan=lan))


def _what_next(homeserver: Homeserver, *, has_neighbours: bool, lan: bool) -> str:
    config = shlex.quote(str(homeserver.config))
    text = f"""\
The homeserver is in {homeserver.directory}, and its name, once and for all, is

  {homeserver.server_name}

Keep a copy of {homeserver.signing_key.name} in a safe place: it is the key of that name.

Start it:
  {shlex.quote(sys.executable)} -m synapse.app.homeserver -c {config}
Give it a user, while it runs:
  {_beside_python("register_new_matrix_user")} -c {config} {homeserver.client_url}
Log in with any Matrix client at {homeserver.client_url}
"""
    if not has_neighbours:
        yet = "but those that it finds on its local networks" if lan else "yet"
        text += f"""
It has no neighbours {yet}:
put addresses under "listen" or "peers" at the end of
{homeserver.config}, and look it over with
  pinecone check {config}
"""
    return text


def _beside_python(command: str) -> str:
    """Return how to call a command that was installed with Synapse, whether its directory is in PATH or not."""
    path = Path(sys.executable).with_name(command)
    return shlex.quote(str(path)) if path.exists() else command


@click.command("check")
@click.argument(
    "files", metavar="HOMESERVER.YAML...", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path)
)
def check(files: tuple[Path, ...]) -> None:
    """Look for mistakes in a homeserver's configuration, before Synapse starts.

    Prints one sentence for each, with the path of the setting, and changes nothing. Several files are put together as
    Synapse does it: what is in a later one counts. Ends with status 1 if there is an error, 0 if there are warnings at
    most.
    """
    findings = check_homeserver(files)
    for finding in findings:
        click.echo(_line(finding))
    errors, warnings = (
        sum(found.severity is kind for found in findings) for kind in (Severity.ERROR, Severity.WARNING)
    )
    click.echo(f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}")
    if errors:
        raise SystemExit(1)


def _line(finding: Finding) -> str:
    severity = click.style(finding.severity.value, fg=_COLOURS[finding.severity], bold=True)
    return f"{severity}: {finding.path}: {finding.sentence}" if finding.path else f"{severity}: {finding.sentence}"
