"""nginx as a remote cache with a place for everybody and one for pull requests, as docs/remote-cache.md has it.

Everybody with a password reads everything. TRUSTED writes to the root alone, PULL to the namespace NAMESPACE alone.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.registry import free_port, tool

TRUSTED, PULL, PASSWORD = "trusted", "pull", "a-password"
NAMESPACE = "pull-7"

_CONFIG = """\
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 100000; client_max_body_size 0; client_body_temp_path {folder}/served/.tmp;
  proxy_temp_path {folder}/t/p; fastcgi_temp_path {folder}/t/f;
  uwsgi_temp_path {folder}/t/u; scgi_temp_path {folder}/t/s;

  # Who may do what, by the path as it is after `..` and %xx are resolved.
  map "$remote_user $request_method $uri" $refused {{
    default 1;
    "~^[a-z]+ (GET|HEAD) /" 0;
    "~^trusted PUT /(ac|cas)/" 0;
    "~^pull PUT /pull-7/(ac|cas)/" 0;
  }}
  server {{
    listen 127.0.0.1:{port}; root {folder}/served;
    auth_basic "cache"; auth_basic_user_file {folder}/htpasswd;
    location ~ "^(/[a-z0-9-]+)?/(ac|cas)/[0-9a-f]{{64}}$" {{
      if ($refused) {{ return 403; }}
      dav_methods PUT; create_full_put_path on;
    }}
    location / {{ return 403; }}
  }}
}}
"""


class Places(NamedTuple):
    """A running nginx at `host`; what it keeps is in `root`."""

    host: str
    root: Path

    def url(self, user: str) -> str:
        """The URL for a user, with the password in it."""
        return f"http://{user}:{PASSWORD}@{self.host}"


@contextlib.contextmanager
def nginx_places(folder: Path) -> Iterator[Places]:
    """An nginx that keeps everything below `folder` and is gone afterwards."""
    program = tool("nginx")
    for name in ("served", "t"):
        (folder / name).mkdir(parents=True)
    # Salted SHA-1: nginx would compute bcrypt for each request.
    lines = [
        subprocess.run([tool("htpasswd"), "-nbs", user, PASSWORD], check=True, capture_output=True).stdout
        for user in (TRUSTED, PULL)
    ]
    (folder / "htpasswd").write_bytes(b"\n".join(line.strip() for line in lines))
    port = free_port()
    # nginx started by root hands requests to a process of another user otherwise, who may not write there.
    user = "user root;" if folder.owner() == "root" else ""
    (folder / "nginx.conf").write_text(_CONFIG.format(user=user, folder=folder, port=port))
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [program, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")],
            stdout=output,
            stderr=output,
        )
        try:
            deadline = time.monotonic() + 10
            while not (folder / "pid").exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"nginx does not start: {(folder / 'error.log').read_text()[-2000:]}")
                time.sleep(0.01)
            yield Places(f"127.0.0.1:{port}", folder / "served")
        finally:
            process.terminate()
            process.wait(10)
