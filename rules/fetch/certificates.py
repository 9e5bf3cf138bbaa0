"""Certificate authorities of one's own, for registries that a public one does not vouch for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kitbuild.errors import ImageError

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter


def trusting(files: tuple[str, ...]) -> HTTPAdapter:
    """What makes a session trust the certificates in `files` (PEM) besides those it trusts anyway.

    Raises ImageError for a file that holds none.
    """
    import ssl

    from requests.adapters import HTTPAdapter

    trust = ssl.create_default_context()
    for file in files:
        try:
            trust.load_verify_locations(file)
        except OSError as error:  # ssl.SSLError is one
            raise ImageError(f"cannot read certificates in {file}: {error.strerror or error}") from error

    class Adapter(HTTPAdapter):
        """Connections, direct ones and those through a proxy, with this trust."""

        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, ssl_context=trust, **options)

        def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
            return super().proxy_manager_for(*arguments, ssl_context=trust, **options)

    return Adapter()
