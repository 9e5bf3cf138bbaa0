"""kitbuild cache serve: serves a folder as a remote cache."""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from kitbuild import __version__
from kitbuild.errors import UsageError

_DESCRIPTION = """\
Serves a folder as a remote cache, to kitbuild, Bazel, and whatever else speaks Bazel's HTTP cache protocol.

  kitbuild cache serve --dir /srv/cache --listen 127.0.0.1:8080 --max-size 50G
  kitbuild build --remote-cache http://127.0.0.1:8080 --remote-cache-write linuxkit.yml

Content is hashed while it comes in, and a result is given only while all it refers to is there. /status and
/metrics say how it does. SIGTERM ends it once what was begun is done; SIGHUP reads tokens and certificate anew.
docs/cache-server.md says more.
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `serve` to the commands of `kitbuild cache`."""
    # Not above: that module adds this one to its commands.
    from kitbuild.cli.cache import size_in_bytes

    parser = subparsers.add_parser(
        "serve",
        help="serve a folder as a remote cache",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dir", required=True, metavar="DIR", type=Path, help="the folder to serve, made if not there"
    )
    parser.add_argument(
        "--listen",
        default="127.0.0.1:8080",
        metavar="ADDR",
        help="where: HOST:PORT; port 0 takes a free one (127.0.0.1:8080)",
    )
    parser.add_argument("--read-only", action="store_true", help="take nothing in")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help="who may do what: lines of `TOKEN read` or `TOKEN write [NAMESPACE-PATTERN]`",
    )
    parser.add_argument(
        "--max-size",
        type=size_in_bytes,
        metavar="SIZE",
        help="how much of the disk to use, then drop what was used longest ago: 50G",
    )
    parser.add_argument("--certificate", metavar="FILE", type=Path, help="serve TLS with this chain (PEM)")
    parser.add_argument(
        "--key", metavar="FILE", type=Path, help="its key, unless that is in the same file (PEM)"
    )
    parser.add_argument(
        "--insecure-writes",
        action="store_true",
        help="let everybody who can reach this machine write, without tokens",
    )
    parser.add_argument("--access-log", action="store_true", help="print a line for each request")
    parser.add_argument("--json", action="store_true", help="print each line as a JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is told to stop; raises UsageError, StoreError or ConfigErrors."""
    if find_spec("aiohttp") is None:
        raise UsageError("`kitbuild cache serve` needs aiohttp", hint="run `pip install 'kitbuild[server]'`")
    from kitbuild.cache.server_listening import Options, serve

    options = Options(
        folder=arguments.dir,
        address=arguments.listen,
        read_only=arguments.read_only,
        token_file=arguments.token_file,
        max_bytes=arguments.max_size,
        certificate=arguments.certificate,
        key=arguments.key,
        insecure_writes=arguments.insecure_writes,
        access_log=arguments.access_log,
    )
    serve(options, version=__version__, tell=_tell_json if arguments.json else _tell)
    return 0


def _tell(kind: str, sentence: str, facts: dict[str, object]) -> None:
    stream = sys.stderr if kind in ("error", "warning") else sys.stdout
    stream.write(f"{kind}: {sentence}\n" if stream is sys.stderr else f"{sentence}\n")
    stream.flush()


def _tell_json(kind: str, sentence: str, facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({"event": kind, "message": sentence, **facts}) + "\n")
    sys.stdout.flush()
