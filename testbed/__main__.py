"""What a container of the test bed runs: ``homeserver``, ``relay``, ``health``, ``load`` or ``chaos``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the role that is named on the command line; return the status of the process."""
    role = sys.argv[1] if len(sys.argv) == 2 else ""
    if role == "load":
        from testbed.load import run_load

        return run_load()
    if role == "chaos":
        from testbed.chaos import run_chaos

        return run_chaos()
    from testbed.roles import health, run_homeserver, run_relay

    roles = {"homeserver": run_homeserver, "relay": run_relay, "health": health}
    if role not in roles:
        sys.stderr.write(f"Which role? One of {', '.join([*roles, 'load', 'chaos'])}.\n")
        return 2
    return roles[role]()


if __name__ == "__main__":
    sys.exit(main())
