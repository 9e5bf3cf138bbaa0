"""The remote cache over HTTP against the real nginx, and against servers that do everything wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kitbuild.cache.http import open_remote
from kitbuild.cache.remote import NO_ACCESS, Access, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError, UsageError
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import RemoteContract, fresh, fresh_key, got, in_pieces, put
from tests.support.nginx import PASSWORD, USER, Certificates, NginxServer, certificates, nginx, nginx_with
from tests.support.raw_http import Asked, Line, raw_server

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).parents[2] / "docs/remote-cache-servers.md"
IN_URL = "user:pass%3Aw%40rd%2F%252F"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
    with nginx(tmp_path_factory.mktemp("nginx") / "plain") as server:
        yield server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
    with nginx(tmp_path_factory.mktemp("nginx") / "locked", password=True) as server:
        yield server


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, trust: Certificates) -> Iterator[NginxServer]:
    with nginx(tmp_path_factory.mktemp("nginx") / "secure", tls=trust, client=True) as server:
        yield server


@pytest.fixture
def remote(plain: NginxServer) -> Iterator[Remote]:
    with closing(open_remote(plain.url, NO_ACCESS)) as remote:
        yield remote


def as_client(trust: Certificates) -> Access:
    return Access((), "", (trust.authority,), trust.client, trust.client_key)


class TestPlain(RemoteContract):
    @pytest.fixture
    def remote(self, plain: NginxServer) -> Iterator[Remote]:
        with closing(open_remote(f"{plain.url}/below/", NO_ACCESS)) as remote:
            yield remote


class TestPassword(RemoteContract):
    @pytest.fixture
    def remote(self, locked: NginxServer) -> Iterator[Remote]:
        with closing(open_remote(locked.url_of(IN_URL), NO_ACCESS)) as remote:
            yield remote


class TestClientCertificate(RemoteContract):
    @pytest.fixture
    def remote(self, secure: NginxServer, trust: Certificates) -> Iterator[Remote]:
        with closing(open_remote(secure.url, as_client(trust))) as remote:
            yield remote


def test_content_lies_where_other_clients_look_for_it(remote: Remote, plain: NginxServer) -> None:
    content = fresh()
    digest = put(remote, content)
    key = fresh_key()
    remote.keep(key, Record(Result(Artifact("blob", digest)), (digest,)))

    assert content == plain.file("cas", digest.hex).read_bytes()
    assert digest.hex.encode() in plain.file("ac", key.hex).read_bytes()


@pytest.mark.parametrize("kept", [b"", b"half", b"more than there was"], ids=["empty", "half", "more"])
def test_file_of_another_size_is_not_there_and_is_put_anew(
    remote: Remote, plain: NginxServer, kept: bytes
) -> None:
    content = fresh(20)
    digest = put(remote, content)
    plain.file("cas", digest.hex).write_bytes(kept)

    missing = remote.missing([digest])
    with pytest.raises(MissingBlobError):
        got(remote, digest)
    put(remote, content)

    assert {digest} == missing
    assert content == got(remote, digest)


def test_namespaces_know_nothing_of_each_other(plain: NginxServer) -> None:
    with (
        closing(open_remote(f"{plain.url}/pull-1", NO_ACCESS)) as one,
        closing(open_remote(f"{plain.url}/pull-2", NO_ACCESS)) as two,
    ):
        digest = put(one, fresh())

        assert (set(), {digest}) == (one.missing([digest]), two.missing([digest]))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
class TestConnections:
    def test_one_serves_many_requests(self, tmp_path: Path, trust: Certificates, secure: bool) -> None:
        with (
            nginx(tmp_path / "nginx", tls=trust if secure else None) as server,
            closing(open_remote(server.url, as_client(trust))) as remote,
        ):
            contents = [fresh() for _ in range(5)]
            digests = [put(remote, content) for content in contents]
            for digest in (*digests, Digest.of(fresh())):
                remote.missing([digest])
            assert contents == [got(remote, digest) for digest in digests]

            requests = server.requests()
            assert 1 == len({line.rpartition(" ")[2] for line in requests}), requests

    def test_server_that_was_started_anew_is_found_again(
        self, tmp_path: Path, trust: Certificates, secure: bool
    ) -> None:
        content = fresh()
        with (
            nginx(tmp_path / "nginx", tls=trust if secure else None) as server,
            closing(open_remote(server.url, as_client(trust))) as remote,
        ):
            digest = put(remote, content)
            server.stop()
            server.start()

            assert content == got(remote, digest)


class TestRefused:
    @pytest.mark.parametrize("user", ["", "user:wrong", "other:pass"], ids=["nobody", "wrong", "other"])
    def test_wrong_password_lasts(self, locked: NginxServer, user: str) -> None:
        url = locked.url_of(user) if user else locked.url
        with closing(open_remote(url, NO_ACCESS)) as remote:
            for ask in (lambda: remote.record(fresh_key()), lambda: remote.missing([Digest.of(fresh())])):
                with pytest.raises(RemoteError, match="401 Unauthorized") as raised:
                    ask()

                assert (True, False) == (raised.value.lasting, raised.value.writing)
                assert raised.value.message.startswith(f"{locked.url} ")

    def test_password_of_netrc_opens(
        self, locked: NginxServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        with closing(open_remote(locked.url, NO_ACCESS)) as remote:
            content = fresh()

            assert content == got(remote, put(remote, content))

    @pytest.mark.parametrize("size", [100, 20 << 20], ids=["small", "large"])
    def test_password_wanted_for_an_upload_is_a_refused_write(self, locked: NginxServer, size: int) -> None:
        content = fresh(size)
        with closing(open_remote(locked.url, NO_ACCESS)) as remote:
            with pytest.raises(RemoteError, match="401") as raised:
                remote.put(Digest.of(content), in_pieces(content, 1 << 20))

            assert (True, True) == (raised.value.lasting, raised.value.writing)

    def test_readonly_server_refuses_to_write_alone(self, tmp_path: Path) -> None:
        content = fresh()
        digest = Digest.of(content)
        with nginx(tmp_path / "nginx", readonly=True) as server:
            server.file("cas", digest.hex).parent.mkdir()
            server.file("cas", digest.hex).write_bytes(content)
            with closing(open_remote(server.url, NO_ACCESS)) as remote:
                with pytest.raises(RemoteError, match="403 Forbidden to PUT") as raised:
                    remote.put(digest, in_pieces(content))

                assert (True, True) == (raised.value.lasting, raised.value.writing)
                assert content == got(remote, digest)

    @pytest.mark.parametrize("size", [100_000, 50 << 20], ids=["little", "much"])
    def test_what_is_too_large_for_the_server_is_a_refused_write(self, tmp_path: Path, size: int) -> None:
        content, small = fresh(size), fresh()
        with (
            nginx(tmp_path / "nginx", most_bytes=50_000) as server,
            closing(open_remote(server.url, NO_ACCESS)) as remote,
        ):
            with pytest.raises(RemoteError, match="413") as raised:
                remote.put(Digest.of(content), in_pieces(content, 1 << 20))

            assert (True, True) == (raised.value.lasting, raised.value.writing)
            assert "client_max_body_size" in str(raised.value.hint)
            assert small == got(remote, put(remote, small))

    def test_disk_that_cannot_be_written_may_be_another_day(self, tmp_path: Path) -> None:
        with nginx(tmp_path / "nginx") as server, closing(open_remote(server.url, NO_ACCESS)) as remote:
            server.file("cas", "").write_bytes(b"a file where the folder would be")

            with pytest.raises(RemoteError, match=r"answers (409|500)") as raised:
                put(remote, fresh())

            assert raised.value.message.endswith("to PUT")


class TestTls:
    def test_unknown_authority_lasts(self, secure: NginxServer) -> None:
        with closing(open_remote(secure.url, NO_ACCESS)) as remote:
            with pytest.raises(RemoteError, match="certificate that is not trusted") as raised:
                remote.record(fresh_key())

            assert raised.value.lasting

    def test_other_host_name_lasts(self, secure: NginxServer, trust: Certificates) -> None:
        url = secure.url.replace("127.0.0.1", "127.0.0.2")
        with closing(open_remote(url, as_client(trust))) as remote:
            with pytest.raises(RemoteError, match=r"certificate that is not trusted|refuses") as raised:
                remote.record(fresh_key())

            assert "127.0.0.2" in raised.value.message

    def test_missing_client_certificate_lasts(self, secure: NginxServer, trust: Certificates) -> None:
        with closing(open_remote(secure.url, Access(authorities=(trust.authority,)))) as remote:
            with pytest.raises(RemoteError) as raised:
                remote.record(fresh_key())

            assert raised.value.lasting

    def test_plain_server_lasts(self, plain: NginxServer) -> None:
        with closing(open_remote(plain.url.replace("http:", "https:"), NO_ACCESS)) as remote:
            with pytest.raises(RemoteError, match="over TLS: wrong version number") as raised:
                remote.record(fresh_key())

            assert raised.value.lasting

    def test_secure_server_asked_in_plain_lasts(self, secure: NginxServer) -> None:
        with closing(open_remote(secure.url.replace("https:", "http:"), NO_ACCESS)) as remote:
            with pytest.raises(RemoteError, match="400") as raised:
                remote.record(fresh_key())

            assert raised.value.lasting

    @pytest.mark.parametrize("which", ["authorities", "client_certificate", "client_key"])
    def test_file_that_is_not_there_is_a_mistake_of_the_user(
        self, trust: Certificates, tmp_path: Path, which: str
    ) -> None:
        file = tmp_path / "file.pem"
        value = (file,) if which == "authorities" else file

        with pytest.raises(UsageError, match=r"file\.pem`, got an error: no such file"):
            open_remote("https://host", as_client(trust)._replace(**{which: value}))  # type: ignore[arg-type]

    @pytest.mark.parametrize("which", ["authorities", "client_certificate", "client_key"])
    def test_malformed_file_lasts(
        self, secure: NginxServer, trust: Certificates, tmp_path: Path, which: str
    ) -> None:
        file = tmp_path / "file.pem"
        file.write_bytes(b"no certificate")
        value = (file,) if which == "authorities" else file
        access = as_client(trust)._replace(**{which: value})  # type: ignore[arg-type]

        with closing(open_remote(secure.url, access)) as remote:
            with pytest.raises(
                RemoteError, match=r"expected (certificate authorities|a certificate and its key)"
            ) as raised:
                remote.record(fresh_key())

            assert raised.value.lasting

    def test_key_that_wants_a_password_is_refused_without_asking_for_it(
        self, secure: NginxServer, trust: Certificates, tmp_path: Path
    ) -> None:
        key = tmp_path / "encrypted.key"
        subprocess.run(
            ["openssl", "pkey", "-in", trust.client_key, "-aes128", "-passout", "pass:word", "-out", key],
            check=True,
        )

        with (
            closing(open_remote(secure.url, as_client(trust)._replace(client_key=key))) as remote,
            pytest.raises(RemoteError, match="expected a certificate and its key"),
        ):
            remote.record(fresh_key())

    def test_refusal_of_a_large_upload_is_told(self, tmp_path: Path, trust: Certificates) -> None:
        content = fresh(8 << 20)
        with (
            nginx(tmp_path / "nginx", tls=trust, most_bytes=1000) as server,
            closing(open_remote(server.url, as_client(trust))) as remote,
            pytest.raises(RemoteError, match="413"),
        ):
            remote.put(Digest.of(content), in_pieces(content, 1 << 20))


class TestProxy:
    """Of the proxies the environment names; this machine's own servers are asked by a name that is not loopback."""

    @pytest.fixture
    def proxied(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Asked]]:
        def forward(asked: Asked, line: Line) -> None:
            line.answer(404 if asked.method in ("GET", "HEAD") else 407)

        with raw_server(forward) as proxy:
            for name in ("http_proxy", "HTTPS_PROXY"):
                monkeypatch.setenv(name, proxy.url.replace("//", "//user:p%40ss@"))
            yield proxy.asked

    def test_plain_server_is_asked_through_it(self, proxied: list[Asked]) -> None:
        digest = Digest.of(fresh())
        with closing(open_remote("http://cache.invalid/one", Access(token="token"))) as remote:
            assert {digest} == remote.missing([digest])

        assert [f"http://cache.invalid/one/cas/{digest.hex}"] == [asked.target for asked in proxied]
        assert "Basic dXNlcjpwQHNz" == proxied[0].headers["proxy-authorization"]
        assert "cache.invalid" == proxied[0].headers["host"]

    def test_connection_kept_alive_to_it_and_lost_is_made_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def once(asked: Asked, line: Line) -> None:
            if not asked.number:
                line.answer(404)

        with raw_server(once) as proxy, closing(open_remote("http://cache.invalid", NO_ACCESS)) as remote:
            monkeypatch.setenv("http_proxy", proxy.url)

            assert [None] * 3 == [remote.record(fresh_key()) for _ in range(3)]
            assert [0, 1, 0, 1, 0] == [asked.number for asked in proxy.asked]

    def test_secure_server_is_asked_through_a_tunnel(self, proxied: list[Asked]) -> None:
        with closing(open_remote("https://cache.invalid", Access(token="secret"))) as remote:
            with pytest.raises(RemoteError, match="the proxy answers 407") as raised:
                remote.record(fresh_key())

            assert raised.value.lasting
        assert ["cache.invalid:443"] == [asked.target for asked in proxied]
        assert "secret" not in str(proxied)

    def test_this_machine_is_asked_directly(self, proxied: list[Asked], plain: NginxServer) -> None:
        with closing(open_remote(plain.url, NO_ACCESS)) as remote:
            assert remote.record(fresh_key()) is None

        assert [] == proxied

    def test_proxy_of_another_kind_lasts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1")
        with closing(open_remote("http://cache.invalid", NO_ACCESS)) as remote:
            with pytest.raises(RemoteError, match="got socks5://") as raised:
                remote.record(fresh_key())

            assert raised.value.lasting
            assert "secret" not in str(raised.value)


class TestDocument:
    """What the document says of nginx, set up as it says."""

    @pytest.fixture
    def configs(self) -> list[str]:
        return re.findall(r"^```nginx\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)

    def test_server_is_a_remote_cache_with_namespaces(self, configs: list[str], tmp_path: Path) -> None:
        content = fresh(3 << 20)

        with nginx_with(tmp_path / "nginx", configs[0]) as server:
            with closing(open_remote(server.url, NO_ACCESS)) as remote:
                digest = put(remote, content)
                assert (set(), content) == (remote.missing([digest]), got(remote, digest))
            with closing(open_remote(f"{server.url}/pull-1", NO_ACCESS)) as other:
                assert {digest} == other.missing([digest])
                put(other, content)
            with closing(open_remote(f"{server.url}/one/two", NO_ACCESS)) as deeper:
                with pytest.raises(RemoteError, match="404") as raised:
                    put(deeper, content)
                assert raised.value.writing

    @pytest.mark.parametrize(("number", "reads"), [(1, False), (2, True)], ids=["all", "writers"])
    def test_password_is_for_those_it_says(
        self, configs: list[str], tmp_path: Path, number: int, reads: bool
    ) -> None:
        place = "create_full_put_path on;"
        content = fresh(3 << 20)

        with nginx_with(tmp_path / "nginx", configs[0].replace(place, place + configs[number])) as server:
            with closing(open_remote(server.url_of(IN_URL), NO_ACCESS)) as remote:
                digest = put(remote, content)
                assert content == got(remote, digest)
            with closing(open_remote(server.url, NO_ACCESS)) as remote:
                with pytest.raises(RemoteError, match="401"):
                    put(remote, content)
                if reads:
                    assert content == got(remote, digest)
                else:
                    with pytest.raises(RemoteError, match="401"):
                        got(remote, digest)


def test_opening_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from kitbuild.cache.http import open_remote\n"
        "from kitbuild.cache.remote import NO_ACCESS\n"
        "open_remote('https://user:password@host/path', NO_ACCESS)\n"
        "print([name for name in ('urllib3', 'http.client', 'socket', 'ssl') if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )

    assert ("[]\n", "") == (done.stdout, done.stderr)
