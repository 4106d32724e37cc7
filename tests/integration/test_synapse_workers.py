"""A homeserver of two processes: the one that sends federation is not the one that has the node."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from synapse.util.check_dependencies import DependencyException, check_requirements

from tests.support.processor_time import Waiting
from tests.support.synapse_processes import START_TIMEOUT, Process, Relay, Synapse, free_port

pytestmark = pytest.mark.synapse


def can_speak_redis() -> bool:
    try:
        check_requirements("redis")
    except DependencyException:
        return False
    return True


POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
REDIS = shutil.which("redis-server")
MISSING = [
    name
    for name, is_there in (
        ("PostgreSQL", POSTGRES is not None),
        ("redis-server", REDIS is not None),
        ("psycopg2", importlib.util.find_spec("psycopg2") is not None),
        ("matrix-synapse[redis]", can_speak_redis()),
    )
    if not is_there
]


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that PostgreSQL's user can reach; PostgreSQL refuses to run as root."""
    directory = Path(tempfile.mkdtemp(prefix="pinecone-workers"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


class AsUser(Process):
    """A program that runs as PostgreSQL's user where we are root."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        super().__init__(name, (["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []) + command, log)


def start_postgres(directory: Path, port: int) -> Process:
    assert POSTGRES is not None
    data = directory / "postgres"
    data.mkdir()
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(data, user.pw_uid, user.pw_gid)
    log = directory / "postgres.log"
    init = AsUser("initdb", [f"{POSTGRES}/initdb", "-D", str(data), "-U", "synapse", "-A", "trust", "-E", "UTF8"], log)
    init._command += ["--locale=C", "--no-sync"]
    init.start()
    assert init.wait(60) == 0, log.read_text()
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(data)]
    postgres = AsUser("postgres", [f"{POSTGRES}/postgres", "-D", str(data), "-p", str(port), *options], log)
    postgres.start()
    postgres.wait_until(lambda: "ready to accept connections" in log.read_text(), "readiness", 60)
    create = [f"{POSTGRES}/createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "synapse", "synapse"]
    subprocess.run(create, check=True)
    return postgres


def with_worker(synapse: Synapse, postgres: int, redis: int) -> Process:
    """Change the homeserver's configuration so that a worker sends its federation; return the worker."""
    directory, replication = synapse.homeserver.directory, free_port()
    settings = yaml.safe_load(synapse.homeserver.config.read_text())
    settings["listeners"].append(
        {
            "type": "http",
            "port": replication,
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["replication"]}],
        }
    )
    arguments = {
        "user": "synapse",
        "dbname": "synapse",
        "host": "127.0.0.1",
        "port": postgres,
        "cp_min": 1,
        "cp_max": 4,
    }
    settings.update(
        database={"name": "psycopg2", "args": arguments},
        redis={"enabled": True, "host": "127.0.0.1", "port": redis},
        instance_map={"main": {"host": "127.0.0.1", "port": replication}},
        worker_replication_secret="secret",
        federation_sender_instances=["sender"],
    )
    synapse.homeserver.config.write_text(yaml.safe_dump(settings))
    log_config = directory / "sender.log.config.yaml"
    log_config.write_text((directory / "log.config.yaml").read_text().replace("homeserver.log", "sender.log"))
    worker = {"worker_app": "synapse.app.generic_worker", "worker_name": "sender", "worker_log_config": str(log_config)}
    config = directory / "sender.yaml"
    config.write_text(yaml.safe_dump(worker))
    command = [
        sys.executable,
        "-m",
        "synapse.app.generic_worker",
        "-c",
        str(synapse.homeserver.config),
        "-c",
        str(config),
    ]
    return Process("sender", command, directory / "sender.log")


@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
def test_a_worker_sends_federation_through_the_main_process(open_directory: Path) -> None:
    relay = Relay(open_directory / "relay")
    a, b = (Synapse.create(name, open_directory, [relay.address]) for name in "ab")
    postgres_port, redis_port = free_port(), free_port()
    redis = Process(
        "redis",
        [str(REDIS), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", ""],
        open_directory / "redis.log",
    )
    sender = with_worker(a, postgres_port, redis_port)
    postgres = start_postgres(open_directory, postgres_port)
    processes: list[Process] = [sender, a, b, relay, redis, postgres]
    try:
        for process in (redis, relay, a, b):
            process.start()
        for process in (relay, a, b):
            process.wait_until_up()
        sender.start()
        sender.wait_until(
            lambda: "worker sender reaches it through that" in sender.log.read_text(), "module", START_TIMEOUT
        )
        alice, bob = a.user("alice"), b.user("bob")
        room = alice.ok("POST", "/client/v3/createRoom", {"preset": "private_chat", "invite": [bob.user_id]})["room_id"]
        bob.wait_for_invite(room)
        bob.ok("POST", f"/client/v3/join/{quote(room)}", {})
        alice.send(room, "from Alice")
        bob.wait_for_message(room, "from Alice")
        bob.send(room, "from Bob")
        alice.wait_for_message(room, "from Bob")
        assert "Sending transaction" in sender.log.read_text()
        assert "Sending transaction" not in a.logged()
        bob.news()
        b.stop()
        alice.send(room, "while you were away")
        sender.wait_until(lambda: "Request failed: PUT" in sender.log.read_text(), "failure", 60)
        b.start()
        b.wait_until_up()
        waiting = Waiting(*(process.pid for process in (sender, a, b, relay)))
        bob.wait_to_be_told(room, "while you were away")
        assert waiting.waited() < 5
    finally:
        for process in processes:
            process.stop()
