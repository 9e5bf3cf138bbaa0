from pathlib import Path

import pytest

from kitbuild.cache.credentials import Place, metadata_of, placed, secrets_of, trust_of
from kitbuild.cache.remote import NO_ACCESS, Access
from kitbuild.errors import UsageError

PLACE = Place("host:1", "host", "", False)


@pytest.fixture(autouse=True)
def netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A netrc file of the test's own, empty at first."""
    file = tmp_path / "netrc"
    file.touch()
    monkeypatch.setenv("NETRC", str(file))
    return file


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("grpc://host:8980", Place("host:8980", "host", "", False)),
        ("grpc://host", Place("host:80", "host", "", False)),
        ("grpcs://host/", Place("host:443", "host", "", True)),
        ("grpcs://host:1/main", Place("host:1", "host", "main", True)),
        ("grpc://host:1/team/main/", Place("host:1", "host", "team/main", False)),
        ("grpc://host:1/a%20b", Place("host:1", "host", "a b", False)),
        ("grpc://[::1]:1", Place("[::1]:1", "::1", "", False)),
        ("grpc://me:p%40ss@host:1", Place("host:1", "host", "", False, "me", "p@ss")),
    ],
)
def test_url_names_host_instance_and_user(url: str, place: Place) -> None:
    assert place == placed(url)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("grpc://", id="no host"),
        pytest.param("grpc://:secret@:8980", id="no host, a password"),
        pytest.param("grpc://host:secret", id="a port of letters"),
        pytest.param("grpc://host:99999", id="a port too large"),
        pytest.param("grpc://host:1?secret", id="a query"),
        pytest.param("grpc://host:1#secret", id="a fragment"),
        pytest.param("grpc://me:1/secret@host:1", id="a slash in the password"),
        pytest.param("grpc://host:1/a/blobs/b", id="a reserved name"),
        pytest.param("http://host:1", id="another scheme"),
    ],
)
def test_malformed_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        placed(url)

    assert "secret" not in caught.value.message


def test_token_comes_before_the_user() -> None:
    place = PLACE._replace(user="me", password="pass")

    assert "Bearer hidden" == dict(metadata_of(place, Access(token="hidden")))["authorization"]
    assert "Basic bWU6cGFzcw==" == dict(metadata_of(place, NO_ACCESS))["authorization"]
    assert "authorization" not in dict(metadata_of(PLACE, NO_ACCESS))


def test_header_comes_before_the_token() -> None:
    access = Access(headers=(("Authorization", "Negotiate x"),), token="hidden")

    assert "Negotiate x" == dict(metadata_of(PLACE, access))["authorization"]


def test_user_is_found_in_netrc(netrc: Path) -> None:
    netrc.write_text("machine host login me password pass\n")

    assert "Basic bWU6cGFzcw==" == dict(metadata_of(PLACE, NO_ACCESS))["authorization"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("X Y", "v"), ("", "v"), ("x-bin", "v"), ("grpc-timeout", "1S"), ("x", "two\nlines"), ("x", "ü")],
)
def test_header_that_cannot_be_sent_is_refused_and_its_value_not_shown(name: str, value: str) -> None:
    with pytest.raises(UsageError) as caught:
        metadata_of(PLACE, Access(headers=((name, value),)))

    assert value not in caught.value.message or len(value) < 3


def test_secrets_are_password_token_and_headers() -> None:
    place = PLACE._replace(user="me", password="password")

    secrets = secrets_of(place, Access(headers=(("x", "header"), ("y", "1"))))

    assert {"password", "header", "Basic bWU6cGFzc3dvcmQ="} == set(secrets)


def test_own_authorities_are_believed_besides_those_of_the_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    system, own = tmp_path / "system.pem", tmp_path / "own.pem"
    system.write_text("system")
    own.write_text("own")
    monkeypatch.setenv("SSL_CERT_FILE", str(system))

    assert b"system" == trust_of(NO_ACCESS).authorities
    assert b"system\nown" == trust_of(Access(authorities=(own,))).authorities


def test_key_may_stand_in_the_file_of_the_certificate(tmp_path: Path) -> None:
    both, key = tmp_path / "both.pem", tmp_path / "key.pem"
    both.write_text("both")
    key.write_text("key")

    together = trust_of(Access(client_certificate=both))
    apart = trust_of(Access(client_certificate=both, client_key=key))

    assert (b"both", b"both") == together[1:]
    assert (b"key", b"both") == apart[1:]


def test_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        trust_of(Access(client_certificate=tmp_path / "none"))
