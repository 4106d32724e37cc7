"""The Go peer's programs: Pinecone's own node, built here from ``tests/interop/gopeer`` once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).parents[1] / "tests" / "interop" / "gopeer"
CACHE: Final = Path(__file__).parents[1] / ".cache" / "gopeer"

MODULE_FILES: Final = {"0.37": "go.mod", "0.48": "quic-go-0.48.mod"}
"""By the version of quic-go: Pinecone's own, and Dendrite's."""


class GoPeerMissingError(Exception):
    """There is no toolchain, or no modules, to build the Go peer with."""


def build_go_peer() -> dict[str, str]:
    """Build the Go peer where that was not done yet; return the programs' paths by the version of quic-go.

    Raises:
        GoPeerMissingError: There is no Go toolchain, or the modules cannot be downloaded.
        CalledProcessError: The build failed.
    """
    go = shutil.which("go")
    if go is None:
        raise GoPeerMissingError(
            "there is no Go toolchain: install Go 1.23 or later to test against Pinecone's own nodes"
        )
    digest = hashlib.sha256(subprocess.check_output([go, "version"]))
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    CACHE.mkdir(parents=True, exist_ok=True)
    programs = {}
    with (CACHE / "lock").open("w") as lock:  # parallel test runners
        fcntl.flock(lock, fcntl.LOCK_EX)
        for version, module_file in MODULE_FILES.items():
            program = CACHE / f"gopeer-{version}-{digest.hexdigest()[:16]}"
            if not program.exists():
                _build(go, module_file, program)
            programs[version] = str(program)
    return programs


def _build(go: str, module_file: str, program: Path) -> None:
    for old in CACHE.glob(program.name.rpartition("-")[0] + "-*"):
        old.unlink()
    unfinished = program.with_suffix(".new")
    modules = subprocess.run(
        [go, "mod", "download", f"-modfile={module_file}"], cwd=SOURCE, capture_output=True, text=True, check=False
    )
    if modules.returncode:
        raise GoPeerMissingError(f"the Go peer's modules cannot be downloaded: {modules.stderr.strip()[-200:]}")
    options = ["-trimpath", "-buildvcs=false", f"-modfile={module_file}"]
    subprocess.run([go, "build", *options, "-o", str(unfinished), "."], cwd=SOURCE, check=True)
    unfinished.rename(program)
