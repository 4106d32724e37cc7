"""The ``pinecone`` command's way in. It works, as far as saying what is missing, without the extra ``cli``."""

from __future__ import annotations

import sys
from typing import Final

_EXTRA: Final = frozenset({"click", "rich", "yaml"})


def main() -> None:
    """Run the command line."""
    try:
        from pinecone_transport.node.commands import pinecone
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        sys.exit(f"The pinecone command needs {error.name}: pip install 'synapse-pinecone[cli]'")
    pinecone(prog_name="pinecone")


if __name__ == "__main__":
    main()
