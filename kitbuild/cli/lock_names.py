"""What the words of `kitbuild update` stand for: configs, and entries of a lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from kitbuild.config.lower import references_of
from kitbuild.config.model import Config
from kitbuild.config.sections import section_names
from kitbuild.config.volumes import index_names_of
from kitbuild.errors import UsageError
from kitbuild.lock import Lock
from kitbuild.reference import Reference
from kitbuild.suggest import did_you_mean

_ENDINGS = (".yml", ".yaml")
_LOCK = ".lock"
_MOST_NAMED = 5


def split_words(words: Sequence[str], has_lock: bool) -> tuple[list[str], list[str]]:
    """The names and the configs among some words; raises UsageError if there is no telling which config."""
    configs = [word for word in words if _is_config(word)]
    names = [word for word in words if word not in configs]
    if configs:
        return names, configs
    locks = [] if has_lock else sorted(Path().glob(f"*{_LOCK}"))
    found = [path.name.removesuffix(_LOCK) for path in locks]
    found = [name for name in found if Path(name).is_file()]
    if len(found) != 1:
        got = f"{len(found)} with a lock here" if found else "none"
        hint = f"name one: {', '.join(f'`{name}`' for name in found[:_MOST_NAMED])}"
        raise UsageError(
            f"expected a config, got {got}",
            hint=hint if found else "name it: `kitbuild update redis linuxkit.yml`",
        )
    return names, found


def _is_config(word: str) -> bool:
    if word == "-" or word.startswith(("http://", "https://")) or word.endswith(_ENDINGS):
        return True
    try:
        return Path(word).is_file()
    except (OSError, ValueError):
        return False


def keys_of(names: Sequence[str], config: Config, lock: Lock) -> set[str]:
    """The entries that some names stand for: whole references, addresses, boot loaders; raises UsageError."""
    words = dict(_words_of(config, lock))
    keys: set[str] = set()
    for name in names:
        found = {key for key, known in words.items() if any(_fits(word, name) for word in known)}
        if not found:
            known = [word for each in words.values() for word in each]
            raise UsageError(
                f"expected the name of something in the lock, got `{name}`",
                hint=did_you_mean(name, known) or "name an image, a section of the config or a boot loader",
            )
        keys |= found
    return keys


def _fits(word: str, name: str) -> bool:
    return word == name or fnmatchcase(word, name)


def _words_of(config: Config, lock: Lock) -> Iterator[tuple[str, set[str]]]:
    """By what every entry can be called."""
    sections = _sections(config)
    references = [*references_of(config), *(name.reference for name in index_names_of(config))]
    known = {str(reference) for reference in references}
    # Those of boot loaders are in no config.
    references += [Reference.parse(name) for name in lock.images if name not in known]
    for reference in dict.fromkeys(references):
        yield str(reference), {*_spellings(reference), *sections.get(reference, ())}
    for name in lock.loaders:
        yield name, {name, "boot loaders"}
    for address in lock.configs:
        yield address, {address, address.rpartition("/")[2], "configs"}


def _spellings(reference: Reference) -> set[str]:
    """The whole name, without digest, without tag; each with and without what every name may begin with."""
    whole = {
        str(reference),
        str(reference._replace(digest="")),
        str(reference._replace(digest="", tag="")),
    }
    hub = {name.removeprefix("docker.io/") for name in whole}
    return whole | hub | {name.removeprefix("library/") for name in hub}


def _sections(config: Config) -> Mapping[Reference, set[str]]:
    """For every reference the sections it is used in, and what is called after."""
    found: dict[Reference, set[str]] = {}

    def add(reference: Reference | None, *names: str) -> None:
        if reference is not None:
            found.setdefault(reference, set()).update(filter(None, names))

    titles = section_names(config)
    if config.kernel:
        add(config.kernel.reference, "kernel")
    for title, init in zip(titles.init, config.init, strict=True):
        add(init.reference, "init", title)
    for title, volume in zip(titles.volumes, config.volumes, strict=True):
        add(volume.reference, "volumes", title, volume.name)
    for title, container in zip(titles.containers, config.containers, strict=True):
        add(container.reference, container.section, title, container.name)
    return found
