"""A registry behind a mirror: the mirror is asked first, the registry for what the mirror does not give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.rules.fetch.connection import Connection
from kitbuild.rules.fetch.transport import Transport, UnavailableError, UnreachableError

if TYPE_CHECKING:
    import requests


class Mirror(Connection):
    """The registry at an address such as https://mirror.example/hub; it has credentials of its own, by its host.

    `is_down` once it did not answer, or broke off: nobody should wait for that again and again.
    """

    def __init__(self, address: str, cert_files: tuple[str, ...] = ()) -> None:
        # Tried once: there is a registry to turn to.
        transport = Transport(address.split("/")[2], waits=(), cert_files=cert_files)
        super().__init__(transport, address=address)
        self.is_down = False


class Mirrored:
    """A registry and its mirror as one; used like a Connection.

    The registry is asked for what the mirror does not have (404), when the mirror cannot answer (429, 5xx) or is
    not reached at all. Who is denied by a mirror (401, 403) hears of it.
    """

    def __init__(self, mirror: Mirror, registry: Connection) -> None:
        self._mirror = mirror
        self._registry = registry
        self.transport = registry.transport

    @contextmanager
    def get(
        self, repository: str, path: str, *, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """The answer of the mirror or else of the registry; see Connection."""
        with ExitStack() as opened:
            try:
                response = self._first(opened, repository, path, headers=headers)
            except (ImageNotFoundError, UnavailableError) as error:
                yield self._second(opened, repository, path, headers=headers, failure=error)
                return
            try:
                yield response
            except OSError:
                # It broke off; what is missing comes from the registry.
                self._mirror.is_down = True
                raise

    def _first(
        self, opened: ExitStack, repository: str, path: str, *, headers: Mapping[str, str] | None
    ) -> requests.Response:
        if self._mirror.is_down:
            raise UnreachableError(f"{self._mirror.host} did not answer before")
        try:
            return opened.enter_context(self._mirror.get(repository, path, headers=headers))
        except UnreachableError:
            self._mirror.is_down = True
            raise

    def _second(
        self,
        opened: ExitStack,
        repository: str,
        path: str,
        *,
        headers: Mapping[str, str] | None,
        failure: ImageError,
    ) -> requests.Response:
        try:
            return opened.enter_context(self._registry.get(repository, path, headers=headers))
        except ImageNotFoundError:
            raise
        except ImageError as error:
            message = f"{error.message}; nor does its mirror help: {failure.message}"
            raise type(error)(message, hint=error.hint) from error
