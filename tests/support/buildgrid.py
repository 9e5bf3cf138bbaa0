"""Starts the real BuildGrid on a free port of this machine: content and results, in memory.

    with buildgrid(tmp_path) as server:
        ... f"grpc://{server.host}" ...

With `secure` it speaks TLS only, and answers only who has a token of `token(server.folder)`. It takes no results if
`updates` is false. `instances` are the names it answers to.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.cache_servers import bundle
from tests.support.casd import Server, running
from tests.support.registry import free_port

VERSION = "0.4.4"
_SECRET = "what BuildGrid and who makes tokens for it know"


@contextlib.contextmanager
def buildgrid(
    folder: Path,
    *,
    secure: tuple[Path, Path] | None = None,
    updates: bool = True,
    instances: Sequence[str] = ("",),
    port: int = 0,
) -> Iterator[Server]:
    """BuildGrid until the block ends; `secure` names its certificate and the key of that."""
    program = bundle(f"buildgrid-{VERSION}") / "bin/bgd"
    folder = folder / "buildgrid"
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{port or free_port()}"
    config = folder / "config.yml"
    # JSON is YAML, but for BuildGrid's tags.
    config.write_text(_config(host, folder, secure, updates=updates, instances=instances))
    with running([str(program), "server", "start", str(config)], folder, host) as server:
        yield server


def token(name: str = "kitbuild", *, secret: str = _SECRET) -> str:
    """A token that lasts an hour; with another `secret` a wrong one."""
    claims = {"sub": name, "exp": int(time.time()) + 3600}
    parts = [_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.digest(secret.encode(), ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, _base64(signature)])


def _config(
    host: str, folder: Path, secure: tuple[Path, Path] | None, *, updates: bool, instances: Sequence[str]
) -> str:
    authorization, credentials = "{method: none}", ""
    if secure:
        (folder / "secret").write_text(_SECRET)
        certificate, key = secure
        credentials = f", credentials: {{tls-server-key: {key}, tls-server-cert: {certificate}}}"
        authorization = f"{{method: jwt, secret: {folder / 'secret'}, algorithm: hs256}}"
    lines = [
        "description: what tests talk to",
        "server:",
        f'  - !channel {{address: "{host}", insecure-mode: {"false" if secure else "true"}{credentials}}}',
        f"authorization: {authorization}",
        "monitoring: {enabled: false}",
        "storages:",
        "  - !lru-storage &content {size: 512M}",
        "caches:",
        "  - !lru-action-cache &results {storage: *content, max-cached-refs: 4096, "
        f"allow-updates: {str(updates).lower()}, cache-failed-actions: true}}",
        "instances:",
    ]
    for instance in instances:
        lines += [
            f"  - name: '{instance}'",
            "    services:",
            "      - !action-cache {cache: *results}",
            "      - !cas {storage: *content}",
            "      - !bytestream {storage: *content}",
        ]
    return "\n".join([*lines, "thread-pool-size: 20", ""])


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
