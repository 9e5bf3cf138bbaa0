"""fetch/package: a Debian package from one of this machine's mirrors, found by apt's own tools.

apt knows the mirrors, the proxies and the passwords for both; nothing of that is asked for twice. Its lists need not
be there: the package is named by its path and digest. Source: sources.list(5), apt-get(8), apt-helper's own help.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.rule import Rule, Work

# A boot loader's package has a few megabytes.
_MAX_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
# Not on the path: apt keeps it for its own programs.
_HELPER = "/usr/lib/apt/apt-helper"
# As `apt-get --print-uris update` writes what it would fetch: 'https://host/debian/dists/bookworm/InRelease' NAME 0
_RELEASE = re.compile(r"^'([^']+)/dists/[^']+/InRelease'", re.MULTILINE)


class PackageOptions(NamedTuple):
    """`hex` is the sha256 of the package, so it alone is identity; the rest says where to find it.

    `source` is `package:` and the path on a mirror; `size` is in bytes, 0 if not known; `loader` is the boot loader
    it is for; `offline` asks no mirror.
    """

    hex: str
    size: int
    source: str
    loader: str
    offline: bool = False


def run(work: Work[PackageOptions]) -> Digest:
    """Gives the package; raises RuleError if no mirror has it, or not as its digest says, keeping nothing."""
    options = work.options
    path = options.source.removeprefix("package:")
    hint = (
        f"give the boot loader with `--boot-loader {options.loader}=FOLDER` or "
        f"`{options.loader}=image:REFERENCE` (docs/boot-loaders.md)"
    )
    if options.offline:
        raise RuleError(
            "the package is not in the cache, and mirrors are not asked offline",
            hint=f"build once without `--offline`, or {hint}",
        )
    try:
        mirrors = _mirrors(work)
    except RuleError as error:
        raise RuleError(f"expected apt, to fetch the package with: {error.message}", hint=hint) from error
    reason = "apt knows none"
    for mirror in mirrors:
        try:
            return _copied(_downloaded(f"{mirror}/{path}", work), work)
        except RuleError as error:
            reason = error.message
    raise RuleError(f"no mirror of this machine gave {path}: {reason}", hint=hint)


def _mirrors(work: Work[Any]) -> list[str]:
    """The addresses below which mirrors have `pool/`, in the order of apt's sources, once each."""
    # What it would do, without doing it: that says the mirrors even where their lists were never fetched.
    printed = work.tool(["apt-get", "--print-uris", "update"]).decode("utf-8", "replace")
    return list(dict.fromkeys(match.rstrip("/") for match in _RELEASE.findall(printed)))


def _downloaded(address: str, work: Work[PackageOptions]) -> Path:
    path = work.scratch() / "package.deb"
    # Its digest is looked at when it is there: what apt says of a wrong one does not name it.
    # The scratch folder is for this user alone, and apt as root would warn that its own user cannot go there.
    sandbox = ["-o", "APT::Sandbox::User="]
    work.tool([_HELPER, *sandbox, "download-file", address, str(path)])
    return path


def _copied(path: Path, work: Work[PackageOptions]) -> Digest:
    options = work.options
    most = options.size or _MAX_BYTES
    try:
        with path.open("rb", buffering=0) as stream, work.writer() as writer:
            while piece := stream.read(_PIECE_BYTES):
                if writer.size + len(piece) > most:
                    raise RuleError(f"expected a package of at most {most} bytes, got more")
                writer.write(piece)
            found = writer.digest()
            if found.hex != options.hex:
                raise RuleError(f"expected a package with the digest sha256:{options.hex}, got {found.oci}")
            return writer.commit()
    except OSError as error:
        raise RuleError(f"cannot read what apt fetched: {error.strerror}") from error


RULE: Rule[Any] = Rule(
    name="fetch/package",
    version=1,
    summary="a Debian package from a mirror",
    options=PackageOptions,
    unkeyed=("size", "source", "loader", "offline"),
    output="blob",
    run=run,
)
