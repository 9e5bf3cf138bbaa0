"""No secret of a remote cache is ever shown or kept: not by builds that fail, not by those that do not.

Everything a build says and leaves behind (what it prints in every way of printing, what it warns of, its local cache,
its outputs, what it keeps in the remote cache) is searched for each secret, also as base64, percent-encoded and as
the header it is sent in.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.command import PROGRAM, Finished, Site
from tests.support.fault_proxy import NONE, Plan, always, fault_proxy
from tests.support.nginx import nginx
from tests.support.registry import free_port

pytestmark = pytest.mark.integration

PASSWORD = "p4ssw0rd-0f-the/team:@"
TOKEN = "t0ken-of-the-team-0123456789"
HEADER = "h3ader-value-of-the-team"
USER = "us3r-of-the-team"

FAULTS: Mapping[str, Plan] = {
    "nothing": lambda method, path, number: NONE,
    **{str(status): always("status", status=status) for status in (401, 407, 500)},
    "full": always("status", methods=("PUT",), status=507),
    **{kind: always(kind) for kind in ("refuse", "garbage", "flip")},
}


class SecretSite(Site):
    """A site with every secret there is: in the URL, in a header, in a token file, and to sign with."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.write("token", f"{TOKEN}\n")
        made = subprocess.run(
            [PROGRAM, "cache", "keygen", str(self.folder / "signing-key")],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        self.trusted = made.stdout.strip()
        self.signing = (self.folder / "signing-key").read_text().strip()
        self.said = made.stdout + made.stderr
        assert self.trusted
        assert self.signing

    def secrets(self) -> dict[bytes, str]:
        """What must be found nowhere, and what it is."""
        found: dict[bytes, str] = {}
        plain = {
            "password": PASSWORD,
            "token": TOKEN,
            "header": HEADER,
            "signing key": self.signing.rpartition(":")[2],
            "authorization": f"{USER}:{PASSWORD}",
        }
        for name, secret in plain.items():
            encoded = base64.b64encode(secret.encode())
            forms = (secret.encode(), quote(secret, safe="").encode(), encoded, encoded.rstrip(b"="))
            found |= {form: name for form in forms}
        return found

    def build_in_every_way(self, url: str, *more: str) -> list[Finished]:
        """Builds with each kind of report, each with a cache of its own."""
        secret = ["--remote-cache", url, "--remote-cache-write", "--remote-cache-header", f"X-Team: {HEADER}"]
        secret += ["--signing-key", "signing-key", "--trusted-key", self.trusted, *more]
        ways: tuple[list[str], ...] = (["--json"], ["-vv"])
        return [
            self.run("build", *way, "--cache-dir", f"cache{way}", *secret, "linuxkit.yml") for way in ways
        ]

    def shown(self, *everywhere: Path) -> list[str]:
        """Where a secret is to be found below the folders, but for the files one was read from."""
        found = []
        for folder in everywhere:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.name not in ("token", "signing-key"):
                    content = path.read_bytes()
                    found += [f"{path}: {name}" for form, name in self.secrets().items() if form in content]
        return found

    def told(self, texts: list[str]) -> list[str]:
        """Which secrets are in what was said."""
        whole = "\n".join(texts).encode()
        return [name for form, name in self.secrets().items() if form in whole]


@pytest.fixture
def site(tmp_path: Path) -> SecretSite:
    return SecretSite(tmp_path / "site")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with nginx(tmp_path / "nginx") as server:
        yield server.url.partition("://")[2], server.root


@pytest.mark.parametrize("fault", FAULTS)
def test_secrets_are_nowhere_after_a_build_whose_cache_does_this(
    site: SecretSite, server: tuple[str, Path], fault: str
) -> None:
    with fault_proxy(server[0], FAULTS[fault]) as proxy:
        url = f"http://{USER}:{quote(PASSWORD, safe='')}@{proxy.host}/team"
        ended = site.build_in_every_way(url)

    assert proxy.asked.total()
    assert [] == site.told([site.said, *(each.stderr + each.stdout.decode() for each in ended)])
    assert [] == site.shown(site.folder, server[1])


@pytest.mark.parametrize("fault", ["401", "flip", "nothing"])
def test_a_token_is_nowhere_after_a_build_whose_cache_does_this(
    site: SecretSite, server: tuple[str, Path], fault: str
) -> None:
    with fault_proxy(server[0], FAULTS[fault]) as proxy:
        ended = site.build_in_every_way(f"http://{proxy.host}", "--remote-cache-token-file", "token")

    assert [] == site.told([each.stderr + each.stdout.decode() for each in ended])
    assert [] == site.shown(site.folder, server[1])


@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "oci", "s3"])
def test_secrets_are_not_told_of_a_server_that_is_down(site: SecretSite, scheme: str) -> None:
    url = f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{free_port()}/team/cache"
    ways = (["--json"], ["-vv"])

    ended = [
        subprocess.run(
            [PROGRAM, "build", *way, "--remote-cache", url, "linuxkit.yml"],
            cwd=site.folder,
            env=site.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for way in ways
    ]

    # A kind of URL may refuse to hold a password; then it says so without it.
    assert {each.returncode for each in ended} <= {0, 2}
    assert [] == site.told([each.stdout + each.stderr for each in ended])
    assert "Traceback" not in "".join(each.stderr for each in ended)
    assert [] == site.shown(site.folder)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://{secret}@[::1/x", id="bracket"),
        pytest.param("http://{secret}@host:port/x", id="port"),
        pytest.param("ftp://{secret}@host/x", id="scheme"),
        pytest.param("http://{secret}@/x", id="no host"),
        pytest.param("{secret}@host/x", id="no scheme"),
        pytest.param("http:/{secret}@host/x", id="one slash"),
        pytest.param("http://{secret}@ho st/x", id="blank"),
    ],
)
def test_secrets_are_not_told_of_a_malformed_url(site: SecretSite, url: str) -> None:
    url = url.format(secret=f"{USER}:{quote(PASSWORD, safe='')}")

    by_flag = site.run("build", "--remote-cache", url, "linuxkit.yml", status=2)
    by_variable = site.run("build", "linuxkit.yml", status=2, environment={"KITBUILD_REMOTE_CACHE": url})
    site.write("kitbuild.toml", f'remote-cache = "{url}"\n')
    by_file = site.run("build", "linuxkit.yml", status=2)

    assert [] == site.told([each.stderr for each in (by_flag, by_variable, by_file)])


def test_secrets_are_not_told_of_other_mistakes_in_settings(site: SecretSite) -> None:
    ended = [
        site.run("build", *flags, "linuxkit.yml", status=2)
        for flags in (
            ["--remote-cache", "http://h/x", "--remote-cache-header", HEADER],
            ["--remote-cache", "http://h/x", "--remote-cache-header", f"X Team: {HEADER}"],
            ["--remote-cache", "http://h/x", "--remote-cache-header", f"X: {HEADER}\nY: 1"],
            ["--remote-cache", "http://h/x", "--signing-key", site.signing[:-5]],
            ["--remote-cache", "http://h/x", "--trusted-key", site.signing],
        )
    ]

    assert [] == site.told([each.stderr for each in ended])
