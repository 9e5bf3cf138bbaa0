"""Images out of the real docker-registry: plain, with passwords, with tokens, and broken."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Image, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.connection import Connection
from kitbuild.rules.fetch.layer import RULE, LayerOptions
from kitbuild.rules.fetch.registry import RegistrySource, open_source
from kitbuild.rules.fetch.transport import Transport
from tests.support.images import blobs_of, hex_of, image, index, layout
from tests.support.registry import RegistryServer, docker_config, registry, tool
from tests.support.work import FolderWork, run

pytestmark = pytest.mark.integration

AMD64 = Platform("linux", "amd64")
HELLO = image({"bin/hello": "one"}, {"bin/hello": "two"}, entrypoint=["/bin/hello"], env=["A=b"])
ARM = image({"bin/hello": "arm"}, architecture="arm64")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("htpasswd"), mode="htpasswd") as server:
        yield server


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("token"), mode="token") as server:
        yield server


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))


def source_of(server: RegistryServer, path: str = "") -> RegistrySource:
    # A connection of its own: what one test was allowed must not help the next one.
    return RegistrySource(Connection(Transport(server.host, pause=lambda _: None)), path)


def image_at(reference: str, platform: Platform = AMD64) -> Image:
    parsed = Reference.parse(reference)
    return RegistrySource(Connection(Transport(parsed.host, pause=lambda _: None))).image(parsed, platform)


def fetched(found: Image, number: int, folder: Path) -> bytes:
    layer = found.layers[number]
    options = LayerOptions(
        layer.diff_id, str(found.reference), found.source, layer.media_type, layer.blob, layer.name
    )
    work = FolderWork(options, folder)
    artifact = run(RULE, work)
    with work.open(artifact.digest) as stream:
        return stream.read()


def test_an_image_and_its_layers_come_out_as_pushed(plain: RegistryServer, tmp_path: Path) -> None:
    reference = plain.push("t/hello:v1", HELLO)

    found = image_at(reference)

    assert found.manifest is not None
    assert HELLO.digest == found.manifest.oci
    assert found.config.entrypoint == ("/bin/hello",)
    assert found.source == f"registry:{plain.host}/t/hello"
    assert list(HELLO.tars) == [fetched(found, number, tmp_path) for number in range(2)]


def test_only_the_wanted_platform_of_an_index_is_fetched(plain: RegistryServer) -> None:
    both = index(ARM, HELLO, attestations=True)
    reference = plain.push("t/count:v1", both)
    before = len(plain.requests())

    found = image_at(reference)

    assert found.top_index is not None
    assert both.digest == found.top_index.oci
    assert plain.requests()[before:] == [
        "GET /v2/t/count/manifests/v1",
        f"GET /v2/t/count/manifests/{HELLO.digest}",
        f"GET /v2/t/count/blobs/sha256:{hex_of(HELLO.config)}",
        # What is attested about it, and that alone.
        f"GET /v2/t/count/manifests/{both.parts[3].digest}",
    ]


def test_another_platform_of_the_same_index_is_chosen(plain: RegistryServer) -> None:
    reference = plain.push("t/platforms:v1", index(HELLO, ARM, docker=True))

    found = image_at(reference, Platform("linux", "arm64"))

    assert [layer.diff_id for layer in found.layers] == list(ARM.diff_ids)


def test_a_platform_the_index_lacks_is_an_error_that_lists_the_others(plain: RegistryServer) -> None:
    reference = plain.push("t/lacking:v1", index(HELLO, ARM))

    with pytest.raises(ImageError, match=r"expected an image for linux/s390x, got linux/amd64, linux/arm64"):
        image_at(reference, Platform("linux", "s390x"))


def test_a_reference_with_tag_and_digest_means_the_digest(plain: RegistryServer) -> None:
    plain.push("t/pinned:v1", HELLO)
    plain.push("t/pinned:v1", ARM)

    found = image_at(f"{plain.host}/t/pinned:v1@{HELLO.digest}")

    assert [layer.diff_id for layer in found.layers] == list(HELLO.diff_ids)


def test_a_reference_without_tag_means_latest(plain: RegistryServer) -> None:
    plain.push("t/untagged:latest", HELLO)

    found = image_at(f"{plain.host}/t/untagged")

    assert str(found.reference) == f"{plain.host}/t/untagged"


def test_a_missing_tag_is_not_found(plain: RegistryServer) -> None:
    plain.push("t/hello:v1", HELLO)

    with pytest.raises(ImageNotFoundError, match="t/hello:v2 is not in the registry"):
        image_at(f"{plain.host}/t/hello:v2")


@pytest.mark.parametrize("compression", ["gzip", "zstd", "plain"])
def test_images_pushed_by_skopeo_are_read(plain: RegistryServer, tmp_path: Path, compression: str) -> None:
    made = image({"etc/motd": "hi"}, compression=compression)  # type: ignore[arg-type]
    folder = layout(
        tmp_path / "layout", {"t/skopeo:v1": made}, lambda _: {"org.opencontainers.image.ref.name": "v1"}
    )
    target = f"docker://{plain.host}/t/skopeo:{compression}"
    command = [tool("skopeo"), "copy", "--insecure-policy", "--dest-tls-verify=false", "--preserve-digests"]
    subprocess.run([*command, f"oci:{folder}:v1", target], check=True, capture_output=True)

    found = image_at(f"{plain.host}/t/skopeo:{compression}")

    assert made.tars[0] == fetched(found, 0, tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda content: content[:-10], "expected .* bytes, got only", id="cut off"),
        pytest.param(lambda content: content + b"x", "got more", id="too long"),
        pytest.param(
            lambda content: content[:-1] + bytes([content[-1] ^ 1]), "broken gzip|this digest", id="changed"
        ),
    ],
)
def test_a_layer_that_is_not_what_was_announced_is_refused(
    plain: RegistryServer, tmp_path: Path, damage: object, message: str
) -> None:
    assert callable(damage)
    made = image({"content": f"a layer for the damage {message}"})
    found = image_at(plain.push("t/damaged:v1", made))
    file = plain.blob_file(hex_of(made.layers[0]))
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(ImageError, match=rf"t/damaged:v1: layer sha256:.*({message})|ends in the middle"):
        fetched(found, 0, tmp_path)

    assert not list((tmp_path / "blobs").iterdir())


def test_a_config_that_is_not_what_was_announced_is_refused(plain: RegistryServer) -> None:
    made = image({"content": "a"}, labels={"damaged": "config"})
    reference = plain.push("t/badconfig:v1", made)
    plain.blob_file(hex_of(made.config)).write_bytes(made.config.replace(b"damaged", b"DAMAGED"))

    with pytest.raises(ImageError, match="expected content with digest"):
        image_at(reference)


def test_a_layer_the_registry_lost_is_an_error_with_a_hint(plain: RegistryServer, tmp_path: Path) -> None:
    made = image({"content": "to be lost"})
    found = image_at(plain.push("t/lost:v1", made))
    plain.blob_file(hex_of(made.layers[0])).unlink()

    with pytest.raises(ImageError, match="t/lost:v1: layer") as caught:
        fetched(found, 0, tmp_path)

    assert "--pull" in str(caught.value.hint)


def test_a_password_from_the_docker_config_opens_the_registry(
    locked: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = locked.push("t/hello:v1", HELLO)
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", locked.host)))

    found = image_at(reference)

    assert list(HELLO.tars) == [fetched(found, number, tmp_path) for number in range(2)]


def test_without_a_password_the_error_says_how_to_log_in(locked: RegistryServer) -> None:
    reference = locked.push("t/hello:v1", HELLO)

    with pytest.raises(ImageError, match=f"{locked.host} denies access to t/hello") as caught:
        image_at(reference)

    assert caught.value.hint == f"check the name, or log in: `docker login {locked.host}`"


def test_a_wrong_password_is_denied_and_never_shown(
    locked: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = locked.push("t/hello:v1", HELLO)
    folder = docker_config(tmp_path / "docker", locked.host, password="wrong-secret")
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))

    with pytest.raises(ImageError, match="denies access") as caught:
        image_at(reference)

    assert "wrong-secret" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}"


def test_a_helper_that_is_not_run_is_named_in_the_hint(
    locked: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = locked.push("t/hello:v1", HELLO)
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "desktop"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    with pytest.raises(ImageError, match="denies access") as caught:
        image_at(reference)

    assert "its helper `desktop` is not used" in str(caught.value.hint)


def test_anybody_may_pull_with_an_anonymous_token(with_tokens: RegistryServer, tmp_path: Path) -> None:
    reference = with_tokens.push("t/hello:v1", HELLO)

    found = image_at(reference)

    assert list(HELLO.tars) == [fetched(found, number, tmp_path) for number in range(2)]


def test_one_token_is_asked_for_once(with_tokens: RegistryServer) -> None:
    with_tokens.push("t/once:v1", index(HELLO, ARM))
    source = source_of(with_tokens, "t/once")
    with_tokens.tokens.asked.clear()

    found = source.image(Reference.parse(f"{with_tokens.host}/t/once:v1"), AMD64)
    with source.layer(found.layers[0]) as pieces:
        content = b"".join(pieces)

    assert HELLO.layers[0] == content
    assert with_tokens.tokens.asked == ["anonymous repository:t/once:pull"]


def test_a_token_that_ran_out_is_replaced(
    with_tokens: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_tokens.push("t/short:v1", HELLO)
    monkeypatch.setattr(with_tokens.tokens, "expires_in", 0)
    source = source_of(with_tokens, "t/short")
    with_tokens.tokens.asked.clear()

    source.image(Reference.parse(f"{with_tokens.host}/t/short:v1"), AMD64)

    assert with_tokens.tokens.asked == ["anonymous repository:t/short:pull"] * 2


def test_one_connection_serves_several_repositories(with_tokens: RegistryServer) -> None:
    connection = Connection(Transport(with_tokens.host))
    references = [Reference.parse(with_tokens.push(f"t/many{number}:v1", HELLO)) for number in range(3)]

    found = [RegistrySource(connection).image(reference, AMD64) for reference in references]

    assert [image.reference for image in found] == references


def test_a_token_may_be_called_access_token(
    with_tokens: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = with_tokens.push("t/hello:v1", HELLO)
    monkeypatch.setattr(with_tokens.tokens, "token_field", "access_token")

    found = image_at(reference)

    assert len(found.layers) == 2


def test_a_private_repository_wants_credentials_for_its_token(
    with_tokens: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = with_tokens.push("t/private:v1", HELLO)
    monkeypatch.setattr(with_tokens.tokens, "private", True)

    with pytest.raises(ImageError, match="denies access"):
        image_at(reference)

    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", with_tokens.host)))
    with_tokens.tokens.asked.clear()
    image_at(reference)
    assert with_tokens.tokens.asked == ["user repository:t/private:pull"]


def test_open_source_reads_a_repository_with_a_port(plain: RegistryServer, tmp_path: Path) -> None:
    plain.push("t/deep/er:v1", HELLO)

    found = open_source(plain.host).image(Reference.parse(f"{plain.host}/t/deep/er:v1"), AMD64)

    assert found.source == f"registry:{plain.host}/t/deep/er"
    assert HELLO.tars[0] == fetched(found, 0, tmp_path)


def test_everything_an_index_consists_of_can_be_pushed(plain: RegistryServer) -> None:
    made = index(HELLO, attestations=True)

    plain.push("t/whole:v1", made)

    assert all(plain.blob_file(name).exists() for name in blobs_of(made))
