"""Three homeservers that share no network, and the relays between them, in containers: see docs/testbed.md."""
