"""kitbuild cache keygen: makes the pair of keys that results in a remote cache are signed and trusted with."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from kitbuild.errors import KitbuildError, UsageError

_DESCRIPTION = """\
Makes a pair of keys. The secret key signs the results that a build keeps in the remote cache. It goes to FILE, which
nobody else may read, and belongs to the builds whose results shall be trusted, as a secret of CI, and to nobody else.
The public key is printed; a build that trusts it takes no results but those signed with its secret key.

  kitbuild cache keygen main-key                                          makes the key, prints the public one
  kitbuild build --remote-cache-write --signing-key main-key linuxkit.yml signs with it
  kitbuild build --trusted-key PUBLIC-KEY linuxkit.yml                    takes nothing else

FILE is ~/.config/kitbuild/signing-key if none is given. One that exists is left as it is.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `keygen` to the commands of `cache`."""
    parser = subparsers.add_parser(
        "keygen",
        help="make keys to sign and trust results with",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="where to write the secret key")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Writes the secret key, prints the public one; raises UsageError if the file exists."""
    from kitbuild.cache.signed import new_secret_key, public_key

    secret = new_secret_key()
    public = public_key(secret)
    file = Path(arguments.file).absolute() if arguments.file else _default_file()
    _write(file, secret)
    if arguments.json:
        import json

        sys.stdout.write(json.dumps({"public_key": public, "file": str(file)}, indent=2) + "\n")
        return 0
    sys.stdout.write(f"{public}\n")
    sys.stderr.write(
        f"the secret key is in {file}\n"
        "sign with it:          kitbuild build --remote-cache-write --signing-key FILE ...\n"
        "or, in CI, as secret:  KITBUILD_SIGNING_KEY=kitbuild-secret-ed25519:...\n"
        f'trust it:              trusted-keys = ["{public}"] in kitbuild.toml\n'
    )
    return 0


def _default_file() -> Path:
    # Not the folder one is in: that is a repository more often than not.
    home = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    return folder / "kitbuild" / "signing-key"


def _write(file: Path, secret: str) -> None:
    try:
        if not file.parent.is_dir():
            file.parent.mkdir(mode=0o700, parents=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if os.path.lexists(file):
            raise UsageError(
                f"`{file}` exists, and may be the only copy of a key", hint="give the name of a new file"
            ) from error
        raise KitbuildError(f"cannot write `{file}`: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as output:
            output.write(f"{secret}\n")
    except OSError as error:
        file.unlink(missing_ok=True)
        raise KitbuildError(f"cannot write `{file}`: {error.strerror}") from error
