"""Who may peer: keys that are allowed or denied, limits of links, and what a peer has to prove.

Asked before a dial, when a link is connected, and when its handshake has told the key.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final, final

import attrs

from pinecone_transport.errors import ConfigurationError, LocalProtocolError
from pinecone_transport.identity import PublicKey
from pinecone_transport.links import Link
from pinecone_transport.node.config import MAX_PORTS, NodeConfig
from pinecone_transport.node.source_config import FINDING
from pinecone_transport.peering import LinkTerms, mesh_key

OVER_ALL: Final = "links over the limit"
OVER_ADDRESS: Final = "links over the limit of one address"
OVER_SOURCE: Final = "links over the limit of one source"
SWITCHED_OFF: Final = "links of a source that is switched off"
NOT_ADMITTED: Final = "peers that may not peer"
"""What is counted, and said in the log."""

_LONGEST_SECRET: Final = 4096


def read_mesh_key(path: str | None) -> bytes | None:
    """Return what the secret in a file makes of it, for `LinkTerms`; None if there is no file, and no closed mesh.

    White space around the secret does not count.

    Raises:
        ConfigurationError: The file cannot be read, or the secret is too short.
    """
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            secret = file.read(_LONGEST_SECRET).strip()
    except OSError as error:
        raise ConfigurationError("mesh_secret_file", f"{path} cannot be read: {error.strerror}.") from None
    try:
        return mesh_key(secret)
    except LocalProtocolError as error:
        raise ConfigurationError("mesh_secret_file", f"the secret in {path} will not do: {error}.") from None


@attrs.frozen
class Rules:
    """What a configuration says about who may peer, with the secret that it names."""

    config: NodeConfig
    mesh_key: bytes | None

    @classmethod
    def read(cls, config: NodeConfig) -> Rules:
        """Return the rules of a configuration.

        Raises:
            ConfigurationError: The mesh's secret cannot be had.
        """
        return cls(config, read_mesh_key(config.mesh_secret_file))


@final
class Admission:
    """Decides about links; counts them by source and address.

    Attributes:
        rules: What it decides by. Links that there are when they change stay; `link_may_stay` tells which should not.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._links: Final[dict[Link, LinkTerms | None]] = {}
        self._of_source: Final[Counter[str]] = Counter()
        self._of_host: Final[Counter[str]] = Counter()

    def terms(self, way: str) -> LinkTerms | None:
        """Return what a peer has to prove on a link of this source."""
        require_proof = self.rules.config.source(way).link_proof
        if self.rules.mesh_key is None and not require_proof:
            return None
        return LinkTerms(mesh_key=self.rules.mesh_key, require_proof=require_proof)

    def before_dial(self, source: str, key: PublicKey | None) -> str | None:
        """Tell whether somebody whom a source has found is to be dialled: None, or one clause why not."""
        if key is not None:
            reason = self._key_refused(source, key)
            if reason is not None:
                return reason
        if len(self._links) >= self.rules.config.max_links:
            return "there are as many links as there may be"
        return self._source_full(source)

    def link_made(self, link: Link) -> str | None:
        """Count a link that is connected; if there are too many, return what kind of too many, and forget it."""
        refused = self._over(link)
        if refused is None:
            self._links[link] = self.terms(link.way)
            self._of_source[link.way] += 1
            if not _is_named(link):
                self._of_host[host_of(link)] += 1
        return refused

    def link_gone(self, link: Link) -> None:
        """Count a link no more. Links that were refused are not known here."""
        if link not in self._links:
            return
        del self._links[link]
        _less(self._of_source, link.way)
        if not _is_named(link):
            _less(self._of_host, host_of(link))

    def peer_refused(self, link: Link, key: PublicKey) -> str | None:
        """Tell whether the node with this key may be a peer by this link: None, or one clause why not."""
        return self._key_refused(link.way, key)

    def link_may_stay(self, link: Link, key: PublicKey | None) -> str | None:
        """Tell whether a link that there is fits the rules of now: None, or one clause why not."""
        if key is not None:
            reason = self.peer_refused(link, key)
            if reason is not None:
                return reason
        if self.rules.config.source(link.way).enabled is False:
            return "its source is switched off"
        terms, had = self.terms(link.way), self._links.get(link)
        if terms is None:
            # The closed mesh was opened: its links cannot be told from those of old nodes, and are as good.
            return None
        if had is None or had.mesh_key != terms.mesh_key or (terms.require_proof and not had.require_proof):
            return "peers have to prove something else now"
        return None

    def _over(self, link: Link) -> str | None:
        config = self.rules.config
        if config.source(link.way).enabled is False:
            return SWITCHED_OFF
        if _is_named(link):
            # A flood of others must not keep us from dialling those whom the configuration names.
            return OVER_ALL if len(self._links) >= MAX_PORTS else None
        if len(self._links) >= config.max_links:
            return OVER_ALL
        if self._source_full(link.way) is not None:
            return OVER_SOURCE
        if self._of_host[host_of(link)] >= config.max_links_per_address:
            return OVER_ADDRESS
        return None

    def _source_full(self, source: str) -> str | None:
        most = self.rules.config.source(source).max_links
        if most is not None and self._of_source[source] >= most:
            return f"there are as many links by {source} as there may be"
        return None

    def _key_refused(self, source: str, key: PublicKey) -> str | None:
        rules = self.rules.config.source(source)
        for of, allow, deny in (
            ("", self.rules.config.allow, self.rules.config.deny),
            (source, rules.allow, rules.deny),
        ):
            which = f" of {of}" if of else ""
            if key in deny:
                return f"its key is on the deny list{which}"
            if allow is not None and key not in allow:
                return f"its key is not on the allow list{which}"
        return None


def host_of(link: Link) -> str:
    """Return what links are counted by: the far end's address without its port, where it has one."""
    if link.way == "ble":
        return link.address  # six bytes with colons between them
    return link.address.rpartition(":")[0] or link.address


def _is_named(link: Link) -> bool:
    """Tell whether it leads to somebody whom the configuration names."""
    return link.outbound and link.way not in FINDING


def _less(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
