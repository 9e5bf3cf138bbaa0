"""Where images are looked for, and over what: from settings to what kitbuild.resolve takes."""

from __future__ import annotations

import stat
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.errors import ConfigError, ConfigErrors, UsageError

if TYPE_CHECKING:
    from kitbuild.config.model import Place
    from kitbuild.reference import Reference
    from kitbuild.resolve import Pins, Resolver
    from kitbuild.settings import Settings
    from kitbuild.store import Notes


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


def image_sources(settings: Settings, *, pull: bool = False) -> list[str]:
    """Where images are looked for before registries: what is given, then LinuxKit's cache if there is one.

    To pull is to ask registries whatever that cache has, as in LinuxKit.
    """
    sources = []
    for path in settings.images:
        is_layout = _is_layout(path)
        sources.append(f"{'layout' if is_layout else 'archive'}:{path.absolute()}")
    image_cache = settings.image_cache or Path("~/.linuxkit/cache").expanduser()
    with suppress(OSError):  # a folder one may not enter has no cache for us
        if not pull and (image_cache / "index.json").is_file():
            sources.append(f"layout:{image_cache.absolute()}")
    return sources


def _is_layout(path: Path) -> bool:
    hint = "mend or remove `--images`"
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return False
        (path / "index.json").stat()
    except FileNotFoundError as error:
        if path.is_dir():
            message = f"expected an image layout at {path}, got a folder without index.json"
            raise UsageError(
                message, hint=f"{hint}; `skopeo copy` writes a layout as oci:FOLDER:NAME"
            ) from error
        raise UsageError(f"expected an image layout or archive at {path}, got nothing", hint=hint) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    return True


def resolver_of(
    arguments: Namespace,
    settings: Settings,
    *,
    notes: Notes,
    offline: bool = False,
    pull: bool = False,
    pins: Pins | None = None,
) -> Resolver:
    """Who is asked for images; `pull` asks registries for every tag again, as the flag does."""
    from kitbuild.resolve import Resolver
    from kitbuild.rules.fetch import open_source

    offline = offline or arguments.offline
    pull = pull or getattr(arguments, "pull", False)
    return Resolver(
        image_sources(settings, pull=pull and not offline),
        notes,
        open_source=open_source,
        pull=pull,
        offline=offline,
        route=route_of(settings, offline=offline),
        pins=pins,
    )
