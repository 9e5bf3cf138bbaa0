"""Where images are looked for, and over what: from settings to what kitbuild.resolve takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from kitbuild.errors import ConfigError, ConfigErrors, UsageError

if TYPE_CHECKING:
    from kitbuild.config.model import Place
    from kitbuild.reference import Reference
    from kitbuild.settings import Settings


def refuse_templates(places: Mapping[Reference, Place]) -> None:
    """Raises ConfigErrors for references that are still templates: those of stdin and of URLs."""
    from kitbuild.config.model import TEMPLATE

    left = [place for reference, place in places.items() if reference.host == TEMPLATE]
    if left:
        message = f"expected the name of an image, got an `{TEMPLATE}` template, which only a file may hold"
        hint = "give the config as a file: templates name folders as seen from it"
        raise ConfigErrors([ConfigError(message, where=place.where(), hint=hint) for place in left])


def route_of(settings: Settings, *, offline: bool = False) -> Callable[[str], str]:
    """What gives the text of a source of images with the way to it: mirrors, and certificates to trust.

    With `offline` there is no way to a registry. Raises UsageError for a file that holds no certificate.
    """
    if not settings.mirrors and not settings.cert_files and not offline:
        return str
    from kitbuild.rules.fetch.route import Routes

    return Routes(dict(settings.mirrors), _cert_files(settings), offline).routed


def _cert_files(settings: Settings) -> tuple[str, ...]:
    for path in settings.cert_files:
        try:
            found = b"-----BEGIN CERTIFICATE-----" in path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"cannot read {path}: {error.strerror}", hint="mend or remove `--cert-file`"
            ) from error
        if not found:
            raise UsageError(
                f"expected certificates (PEM) in {path}, got none", hint="mend or remove `--cert-file`"
            )
    return tuple(str(path.absolute()) for path in settings.cert_files)
