"""The command: start everything, show the steps, stay until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo.client_api import ClientApi
from demo.errors import DemoError
from demo.overlay import PROGRAMS, control_socket, start_programs
from demo.processes import Programs
from demo.state import DEFAULT_BASE_PORT, State, relay_port, remove
from demo.steps import STEPS, Scene
from demo.table import StepTable

HIGHEST_BASE_PORT: Final = 65_533


def main() -> int:
    """Run the demo and return the status to exit with."""
    options = read_options()
    console = Console(soft_wrap=True)
    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)
    try:
        if options.fresh:
            remove(options.state_dir)
        state = State(options.state_dir, options.base_port)
        with Programs() as programs:
            start_programs(state, programs)
            scene = Scene(
                state,
                programs,
                ClientApi(state.a.port, programs.check),
                ClientApi(state.b.port, programs.check),
            )
            run_steps(console, scene)
            say_what_next(console, state)
            if not options.exit:
                stay(console, programs)
    except DemoError as error:
        console.print(f"[red]{escape(str(error))}[/red]", highlight=False)
        if error.log is not None:
            console.print(f"Its log is {error.log}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 0 if not options.exit else 130
    return 0


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Two homeservers that talk through a relay.")
    parser.add_argument("--exit", action="store_true", help="leave after the last step; status 0 if all passed")
    parser.add_argument("--fresh", action="store_true", help="begin anew, with other homeservers")
    parser.add_argument(
        "--base-port",
        type=base_port,
        metavar="PORT",
        help=f"the first of the three ports on 127.0.0.1 (default: as last time, or {DEFAULT_BASE_PORT})",
    )
    parser.add_argument(
        "--state-dir", type=Path, default=Path(".demo"), metavar="DIR", help="where everything is kept (default: .demo)"
    )
    return parser.parse_args()


def base_port(text: str) -> int:
    """Return the port, if there are two more above it."""
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST_BASE_PORT:
        raise argparse.ArgumentTypeError(f"should be a number from 1 to {HIGHEST_BASE_PORT}, not {text!r}")
    return int(text)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Take a request to end for what Ctrl-C is."""
    raise KeyboardInterrupt


def run_steps(console: Console, scene: Scene) -> None:
    """Take the steps one by one and show them as they go."""
    with StepTable(console) as table:
        for name, step in STEPS:
            table.begin(name)
            try:
                table.passed(step(scene))
            except DemoError as error:
                table.failed()
                log = error.log or scene.state.homeserver_folder(scene.state.a) / "homeserver.log"
                raise DemoError(f"{name}: {error}", log) from error


def say_what_next(console: Console, state: State) -> None:
    """Say what a person can do now."""
    table = Table("Homeserver", "User", "Password", title="Log in with any Matrix client", title_justify="left")
    for side in (state.a, state.b):
        table.add_row(side.client_url, side.user, side.password)
    console.print("", table)
    console.print(f"Alice is {state.a.user_id}\nBob is {state.b.user_id}", highlight=False)
    pinecone = PROGRAMS / "pinecone"
    console.print(
        f"\nA homeserver of your own in this network, while the demo runs:\n"
        f"  {pinecone} new-homeserver my-homeserver --peer 127.0.0.1:{relay_port(state.base_port)}\n"
        f"What the relay sees:\n"
        f"  {pinecone} status --control-socket {control_socket(state.relay_folder)}\n"
        f"Homeservers, rooms and logs are in {state.folder}, and there again at the next start; "
        f"make demo ARGS=--fresh begins anew.",
        highlight=False,
    )


def stay(console: Console, programs: Programs) -> None:
    """Stay until Ctrl-C; raise when a program has ended."""
    console.print("\nRunning until Ctrl-C …")
    while True:
        programs.check()
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
