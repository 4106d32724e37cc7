"""Multicast DNS by python-zeroconf: the extra ``mdns``. It runs in threads of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import BoundedSemaphore
from typing import Any, Final, final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from zeroconf import ServiceBrowser, ServiceInfo, ServiceListener, Zeroconf

from pinecone_transport.discovery.dns_sd import LONGEST_LABEL, SERVICE_TYPE, TXT_KEY, Service, instance_name
from pinecone_transport.discovery.network_interfaces import Interface
from pinecone_transport.identity import PublicKey

logger = logging.getLogger("pinecone_transport.discovery")

LOOKUP_TIMEOUT_MS: Final = 3000
MAX_LOOKUPS: Final = 16
"""At once; a name that nobody answers for keeps its place for 3 s."""


@final
class ZeroconfResponder:
    """A `Responder`.

    Everything of zeroconf's that takes time is called in one thread, in order; its own thread reports what it sees.

    Args:
        found: Called with each instance that is found or has changed, in the reactor's thread.
        lost: Called with the name of each that is gone, likewise.
        reactor: Whose thread that is.
    """

    def __init__(
        self, found: Callable[[Service], None], lost: Callable[[str], None], *, reactor: IReactorFromThreads
    ) -> None:
        self._found = found
        self._lost = lost
        self._reactor = reactor
        self._worker: ThreadPoolExecutor | None = None
        self._session: _Session | None = None

    def start(self, interfaces: tuple[Interface, ...], key: PublicKey, port: int) -> None:
        """Advertise ourselves, and look for others, on these interfaces from now on, and on no others."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, thread_name_prefix="pinecone-mdns")
        before, self._session = self._session, None
        if before is not None:
            before.over = True
            self._worker.submit(before.close)
        if interfaces:
            self._session = session = _Session(self._tell)
            self._worker.submit(session.open, interfaces, key, port)

    def stop(self) -> Deferred[Any]:
        """Say goodbye and end."""
        done: Deferred[None] = Deferred()
        worker, self._worker = self._worker, None
        session, self._session = self._session, None
        if worker is None:
            done.callback(None)
            return done
        if session is not None:
            session.over = True
            worker.submit(session.close)
        worker.submit(lambda: self._reactor.callFromThread(done.callback, None))
        worker.shutdown(wait=False)
        return done

    def _tell(self, session: _Session, service: Service | str) -> None:
        """Report from a thread of zeroconf's; what an earlier session saw is of no interest any more."""

        def report() -> None:
            if session.over:
                return
            if isinstance(service, str):
                self._lost(service)
            else:
                self._found(service)

        self._reactor.callFromThread(report)


class _Session(ServiceListener):
    """One `Zeroconf`, which keeps to the interfaces that it was made with.

    Attributes:
        over: Set in the reactor's thread.
    """

    def __init__(self, tell: Callable[[_Session, Service | str], None]) -> None:
        self.over = False
        self._tell = tell
        self._names: dict[int, str] = {}
        self._zeroconf: Zeroconf | None = None
        self._browser: ServiceBrowser | None = None
        self._lookups = BoundedSemaphore(MAX_LOOKUPS)

    # In the worker

    def open(self, interfaces: tuple[Interface, ...], key: PublicKey, port: int) -> None:
        self._names = {interface.index: interface.name for interface in interfaces}
        own = [str(address) for each in interfaces for address in (each.ipv4(), each.ipv6()) if address is not None]
        places: list[str | int] = [str(each.ipv4()) for each in interfaces if each.ipv4() is not None]
        places += [each.index for each in interfaces if each.ipv6() is not None]
        info = ServiceInfo(
            SERVICE_TYPE,
            instance_name(key),
            port=port,
            properties={TXT_KEY: key.hex()},
            parsed_addresses=own,  # without them the service is there and nobody can resolve it
            server=f"{key.hex()[:LONGEST_LABEL]}.local.",
        )
        try:
            self._zeroconf = zeroconf = Zeroconf(interfaces=places)
            self._browser = ServiceBrowser(zeroconf, SERVICE_TYPE, self)
            # No other node has our key in its name: nobody needs to be asked whether the name is free.
            zeroconf.register_service(info, cooperating_responders=True)
        except Exception as error:  # whatever it is, there are other ways to find peers
            logger.warning("Multicast DNS does not work: %s", error or type(error).__name__)

    def close(self) -> None:
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            zeroconf.close()  # unregisters the service and ends the browser

    # In zeroconf's thread

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        info = ServiceInfo(type_, name)
        if info.load_from_cache(zc):
            self._tell_of(info)
        elif zc.loop is not None and self._lookups.acquire(blocking=False):
            asked = asyncio.run_coroutine_threadsafe(info.async_request(zc, LOOKUP_TIMEOUT_MS), zc.loop)
            asked.add_done_callback(partial(self._looked_up, info))

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self._tell(self, name)

    def _looked_up(self, info: ServiceInfo, asked: Future[bool]) -> None:
        self._lookups.release()
        if not asked.cancelled() and asked.exception() is None and asked.result():
            self._tell_of(info)

    def _tell_of(self, info: ServiceInfo) -> None:
        addresses = tuple(map(self._scoped, info.parsed_scoped_addresses()))
        self._tell(self, Service(name=info.name, text=info.properties, port=info.port or 0, addresses=addresses))

    def _scoped(self, address: str) -> str:
        """Return an address with the name of the interface in place of its number."""
        host, separator, scope = address.partition("%")
        return f"{host}%{self._names.get(int(scope), scope)}" if separator and scope.isdigit() else address
