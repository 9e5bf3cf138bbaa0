"""A registry as a source of images. Only the wanted platform of an index is ever fetched.

Source: OCI distribution-spec 1.1, "Pulling manifests" and "Pulling blobs".
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Descriptor, Image, Index, Layer, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.connection import Connection
from kitbuild.rules.fetch.document import INDEX_TYPES, MANIFEST_TYPES, MAX_DOCUMENT_BYTES, verified
from kitbuild.rules.fetch.index import WantedIndex, index_of
from kitbuild.rules.fetch.manifest import Wanted, image_of
from kitbuild.rules.fetch.mirror import Mirror, Mirrored
from kitbuild.rules.fetch.route import Route, split
from kitbuild.rules.fetch.transport import Transport

if TYPE_CHECKING:
    import requests

_ACCEPT = {"Accept": ", ".join(sorted(INDEX_TYPES | MANIFEST_TYPES))}


def open_source(where: str) -> RegistrySource:
    """The registry or repository `where`: `host[:port][/path]`, perhaps with a route to it.

    Raises ImageError if the route says that registries are not asked.
    """
    place, route = split(where)
    host, _, path = place.partition("/")
    if route.offline:
        raise ImageError(
            f"it has to come from the registry {host}, and registries are not asked offline",
            hint="build without `--offline`, or give an image layout or archive that has it with `--images`",
        )
    return RegistrySource(_connection(host, route), path)


# Every layer is a node of its own and opens its source anew: the open sockets and the tokens outlive it, or each
# layer would pay three round trips before its first byte. Nothing here is ever stale: tokens expire, and
# credentials are read again when a registry asks for them.
@lru_cache(maxsize=64)
def _connection(host: str, route: Route) -> Connection | Mirrored:
    registry = Connection(Transport(host, cert_files=route.cert_files))
    return Mirrored(_mirror(route.mirror, route.cert_files), registry) if route.mirror else registry


# One for all the registries it mirrors: what is known of it is known for all.
@lru_cache(maxsize=64)
def _mirror(address: str, cert_files: tuple[str, ...]) -> Mirror:
    return Mirror(address, cert_files)


class RegistrySource:
    """Images of a registry; `path` is the repository layers are read from."""

    def __init__(self, connection: Connection | Mirrored, path: str = "") -> None:
        self._connection = connection
        self._path = path

    def image(self, reference: Reference, platform: Platform) -> Image:
        """The image of this name; see ImageSource. Without tag and digest it is `latest`."""
        wanted = Wanted(reference, platform, _written(reference))
        content = self._top(reference)
        with _complete(reference):
            return image_of(content, wanted, read=lambda descriptor: self._read(reference.path, descriptor))

    def index(self, reference: Reference, platforms: tuple[Platform, ...]) -> Index:
        """All of the image of this name; see ImageSource."""
        wanted = WantedIndex(reference, platforms, _written(reference))
        content = self._top(reference)
        with _complete(reference):
            return index_of(content, wanted, read=lambda descriptor: self._read(reference.path, descriptor))

    @contextmanager
    def blob(self, blob: Digest, media_type: str) -> Iterator[Iterator[bytes]]:
        """A document or layer as stored; see ImageSource."""
        if media_type in INDEX_TYPES | MANIFEST_TYPES:
            yield iter([self._document(self._path, f"manifests/{blob.oci}")])
            return
        with closing(self._blob(blob)) as pieces:
            yield pieces

    def _top(self, reference: Reference) -> bytes:
        """The manifest or index of this name."""
        name = reference.digest or reference.tag or "latest"
        try:
            content = self._document(reference.path, f"manifests/{name}")
        except ImageNotFoundError as error:
            raise ImageNotFoundError(
                f"{reference} is not in the registry {reference.host}",
                hint="check the name and the tag",
            ) from error
        if reference.digest:
            got = Digest.of(content)
            if got.oci != reference.digest:
                raise ImageError(f"{reference}: expected that digest, got {got.oci}")
        return content

    @contextmanager
    def layer(self, layer: Layer) -> Iterator[Iterator[bytes]]:
        """The layer's bytes as stored; see ImageSource. A broken connection is taken up again where it broke."""
        assert layer.blob is not None and self._path, "layers of a registry have a digest and a repository"
        with closing(self._blob(layer.blob)) as pieces:
            yield pieces

    def _blob(self, blob: Digest) -> Generator[bytes, None, None]:
        done = 0
        failures = 0
        while True:
            headers = {"Range": f"bytes={done}-"} if done else {}
            try:
                with self._connection.get(self._path, f"blobs/{blob.oci}", headers=headers) as response:
                    for piece in self._from(response, done):
                        done += len(piece)
                        yield piece
                return
            except ImageNotFoundError as error:
                raise ImageError(
                    error.message, hint="build with `--pull` in case the image was replaced, or push it again"
                ) from error
            except OSError as error:
                failures += 1
                self._connection.transport.wait_after(failures, error)

    def _from(self, response: requests.Response, done: int) -> Iterator[bytes]:
        """The body from byte `done` on, whether or not the registry heeded the range."""
        skip = 0 if response.status_code == 206 else done
        for piece in self._connection.transport.pieces(response):
            rest = piece[skip:]
            skip -= len(piece) - len(rest)
            if rest:
                yield rest

    def _read(self, path: str, descriptor: Descriptor) -> bytes:
        kind = "manifests" if descriptor.media_type in MANIFEST_TYPES else "blobs"
        return verified(descriptor, self._document(path, f"{kind}/{descriptor.digest.oci}"))

    def _document(self, path: str, name: str) -> bytes:
        failures = 0
        while True:
            try:
                with self._connection.get(path, name, headers=_ACCEPT) as response:
                    return self._connection.transport.body(response, MAX_DOCUMENT_BYTES)
            except OSError as error:
                failures += 1
                self._connection.transport.wait_after(failures, error)


def _written(reference: Reference) -> str:
    """How the source of an image's blobs is written."""
    return f"registry:{reference.host}/{reference.path}"


@contextmanager
def _complete(reference: Reference) -> Iterator[None]:
    """Makes what is missing of an image whose name is known an error of the registry's."""
    try:
        yield
    except ImageNotFoundError as error:
        raise ImageError(f"{reference} is incomplete: {error.message}") from error
