"""Settings: flag before variable before file before default."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from kitbuild.errors import UsageError
from kitbuild.settings import TABLE, Settings, add_setting_arguments, cache_dir, settings_of


def parsed(*arguments: str) -> Namespace:
    parser = ArgumentParser()
    add_setting_arguments(parser)
    return parser.parse_args(arguments)


def settings(folder: Path, *arguments: str, **environment: str) -> Settings:
    return settings_of(parsed(*arguments), environment=environment, folder=folder)


def refused(folder: Path, *arguments: str, **environment: str) -> UsageError:
    with pytest.raises(UsageError) as raised:
        settings(folder, *arguments, **environment)
    return raised.value


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    assert settings(tmp_path) == Settings()


def test_every_setting_has_a_field_and_names_of_its_own() -> None:
    assert {setting.name for setting in TABLE} == set(Settings._fields)
    assert len({setting.flag for setting in TABLE}) == len(TABLE)
    assert len({setting.variable for setting in TABLE}) == len(TABLE)


def test_help_names_every_flag_and_variable() -> None:
    parser = ArgumentParser()
    add_setting_arguments(parser)

    text = parser.format_help()

    assert [setting.flag for setting in TABLE if setting.flag not in text] == []
    assert [setting.variable for setting in TABLE if setting.variable not in text] == []


def test_flag_wins_over_variable_and_variable_over_file(tmp_path: Path) -> None:
    (tmp_path / "kitbuild.toml").write_text("jobs = 1\ncompression = 'none'\ncache-dir = 'from-file'\n")

    found = settings(
        tmp_path, "--jobs", "3", KITBUILD_JOBS="2", KITBUILD_COMPRESSION="zstd", KITBUILD_CACHE_DIR=""
    )

    assert found == Settings(jobs=3, compression="zstd", cache_dir=tmp_path / "from-file")


def test_several_images_are_given_as_flags_or_as_a_path_list(tmp_path: Path) -> None:
    both = (tmp_path / "one", Path("/two"))

    assert settings(tmp_path, "--images", "one", "--images", "/two").images == both
    assert settings(tmp_path, KITBUILD_IMAGES=os.pathsep.join(["one", "", "/two"])).images == both
    (tmp_path / "kitbuild.toml").write_text('images = ["one", "/two"]\n')
    assert settings(tmp_path).images == both


def test_file_is_found_above_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "kitbuild.toml").write_text("image-cache = 'shared'\n")
    below = tmp_path / "some" / "folder"
    below.mkdir(parents=True)

    assert settings(below).image_cache == tmp_path / "shared"
    assert settings(below, "--cache", "mine").image_cache == below / "mine"


def test_nearest_file_counts_alone(tmp_path: Path) -> None:
    (tmp_path / "kitbuild.toml").write_text("jobs = 1\ncompression = 'none'\n")
    below = tmp_path / "folder"
    below.mkdir()
    (below / "kitbuild.toml").write_text("jobs = 2\n")

    assert settings(below) == Settings(jobs=2)


def test_home_is_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert settings(tmp_path, "--cache", "~/images").image_cache == Path("/home/somebody/images")


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        ("jbos = 1", "unknown key `jbos`", "did you mean `jobs`?"),
        ("nothing = 1", "unknown key `nothing`", "use one of `images`"),
        ("jobs = 'x'", "`jobs`: expected N, got `x`", "give a whole number"),
        ("jobs = -1", "`jobs`: expected N, got `-1`", "give a whole number"),
        ("jobs = true", "`jobs`: expected N, got `True`", "give a whole number"),
        ("jobs = 2.0", "`jobs`: expected N, got `2.0`", "give a whole number"),
        ("compression = 1", "`compression`: expected KIND, got `1`", "use one of `gzip`"),
        ("cache-dir = []", "`cache-dir`: expected DIR, got `[]`", "give a path in quotes"),
        ("images = 'x'", "`images`: expected a list of texts, got `x`", 'write images = ["..."]'),
        ("images = [1]", "`images`: expected a list of texts, got `[1]`", 'write images = ["..."]'),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, content: str, message: str, hint: str) -> None:
    (tmp_path / "kitbuild.toml").write_text(content)

    error = refused(tmp_path)

    assert error.message == f"{tmp_path / 'kitbuild.toml'}: {message}"
    assert (error.hint or "").startswith(hint)


@pytest.mark.parametrize("content", [b"jobs = ", b"\xff", b"jobs = 1\njobs = 2"])
def test_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "kitbuild.toml").write_bytes(content)

    assert refused(tmp_path).message.startswith(f"cannot read {tmp_path / 'kitbuild.toml'}: ")


def test_wrong_flag_and_variable_are_refused_by_name(tmp_path: Path) -> None:
    assert refused(tmp_path, "--jobs", "x").message == "`--jobs`: expected N, got `x`"
    assert refused(tmp_path, KITBUILD_JOBS="1.5").message == "`KITBUILD_JOBS`: expected N, got `1.5`"
    assert refused(tmp_path, "--compression", "gzpi").hint == "did you mean `gzip`?"
    assert refused(tmp_path, "--cache", "~no-such-user/x").hint == "there is no such user: write the path out"


@pytest.mark.parametrize("password", ["secret", "se/cret", "se@cret"])
def test_password_in_the_address_of_a_mirror_is_refused_and_not_shown(tmp_path: Path, password: str) -> None:
    error = refused(tmp_path, "--mirror", f"docker.io=https://me:{password}@mirror.example")

    assert error.message == "`--mirror`: expected [REGISTRY=]URL, got `docker.io=https://...@mirror.example`"


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (Path("/a"), {"XDG_CACHE_HOME": "/b"}, "/a"),
        (None, {"XDG_CACHE_HOME": "/b"}, "/b/kitbuild"),
        (None, {"XDG_CACHE_HOME": ""}, "/home/somebody/.cache/kitbuild"),
    ],
)
def test_cache_is_what_is_set_or_where_caches_are(
    monkeypatch: pytest.MonkeyPatch, given: Path | None, environment: dict[str, str], expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert cache_dir(given, environment) == Path(expected)


HEX = "0123456789abcdef" * 4
PACKAGE = f"pool/main/s/x_6.04~git1+dfsg1-3+b1_amd64.deb@sha256:{HEX}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("image:t/grub:v1", ("image:docker.io/t/grub:v1",), id="an image"),
        pytest.param(f"package:{PACKAGE}", (f"package:{PACKAGE}",), id="a package"),
        pytest.param(f"package:{PACKAGE}+package:a.deb@sha256:{HEX}+{PACKAGE}", None, id="three packages"),
        pytest.param("vendor/grub", ("{}/vendor/grub",), id="a folder"),
        pytest.param("/vendor/c++ files, all", ("/vendor/c++ files, all",), id="an odd folder"),
        pytest.param("x_1+b1.deb", ("{}/x_1+b1.deb",), id="a file"),
        pytest.param("x_1+b1.deb+/y.deb+z", ("{}/x_1+b1.deb", "/y.deb", "{}/z"), id="two files and a folder"),
        pytest.param(
            f"x.deb+package:{PACKAGE}", ("{}/x.deb", f"package:{PACKAGE}"), id="a file and a package"
        ),
    ],
)
def test_boot_loader_comes_from_an_image_packages_a_folder_or_files(
    tmp_path: Path, source: str, expected: tuple[str, ...] | None
) -> None:
    three = (f"package:{PACKAGE}", f"package:a.deb@sha256:{HEX}", f"package:{PACKAGE}")
    sources = tuple(text.format(tmp_path) for text in expected) if expected else three

    found = settings(tmp_path, "--boot-loader", f"grub={source}").boot_loaders

    assert found == (("grub", sources),)


def test_boot_loaders_are_joined_and_of_two_for_one_the_later_counts(tmp_path: Path) -> None:
    (tmp_path / "kitbuild.toml").write_text('boot-loaders = ["grub=one", "syslinux=vendor/sys linux"]\n')
    below = tmp_path / "below"
    below.mkdir()

    found = settings(
        below,
        "--boot-loader",
        "grub=three",
        KITBUILD_BOOT_LOADERS="grub=two, systemd-boot=a b,raspberry-pi=c",
    )

    assert dict(found.boot_loaders) == {
        "grub": (f"{below}/three",),
        "syslinux": (f"{tmp_path}/vendor/sys linux",),
        "systemd-boot": (f"{below}/a b",),
        "raspberry-pi": (f"{below}/c",),
    }


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("grub", "write NAME=FOLDER, NAME=image:REFERENCE or NAME=package:PATH.deb@sha256:HEX"),
        ("=folder", "write NAME=FOLDER, NAME=image:REFERENCE or NAME=package:PATH.deb@sha256:HEX"),
        ("grub=", "write NAME=FOLDER, NAME=image:REFERENCE or NAME=package:PATH.deb@sha256:HEX"),
        ("grub=image:", "expected an image name such as linuxkit/init:v1, got nothing"),
        ("grub=package:x.deb", "write package:PATH.deb@sha256:HEX, PATH as the mirrors have it: pool/..."),
        (
            f"grub=package:../x.deb@sha256:{HEX}",
            "write package:PATH.deb@sha256:HEX, PATH as the mirrors have it: pool/...",
        ),
        (
            f"grub=package:x.deb@sha256:{HEX[1:]}",
            "write package:PATH.deb@sha256:HEX, PATH as the mirrors have it: pool/...",
        ),
        (
            "grub=https://example.com/x.deb",
            "`https://example.com/x.deb`: give a folder, a .deb, image:REFERENCE or package:PATH.deb@sha256:HEX",
        ),
    ],
)
def test_boot_loader_from_nowhere_is_refused(tmp_path: Path, text: str, hint: str) -> None:
    error = refused(tmp_path, "--boot-loader", text)

    assert error.message == f"`--boot-loader`: expected NAME=SOURCE, got `{text}`"
    assert error.hint == hint


# -- the remote cache


def test_remote_cache_is_a_url_and_none_switches_it_off(tmp_path: Path) -> None:
    (tmp_path / "kitbuild.toml").write_text(
        'remote-cache = "https://cache.example/team"\nremote-cache-write = true\n'
    )

    from_file = settings(tmp_path)
    off = settings(tmp_path, "--remote-cache", "none")

    assert (from_file.remote_cache, from_file.remote_cache_write) == ("https://cache.example/team", True)
    assert off.remote_cache == "none"


def test_folder_without_its_scheme_is_told_how_to_write_it(tmp_path: Path) -> None:
    assert refused(tmp_path, "--remote-cache", "/srv/cache").hint == "write file:///srv/cache"


@pytest.mark.parametrize("url", ["cache.example", "http:/x", "://x", "http://a b"])
def test_remote_cache_that_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    error = refused(tmp_path, "--remote-cache", url)

    assert error.message == f"`--remote-cache`: expected URL, got `{url}`"
    assert error.hint == "write SCHEME://HOST[:PORT][/PATH], or none"


@pytest.mark.parametrize("name", ["pr-7", "main", "a.b_c-1", "x" * 64])
def test_namespace_can_be_a_part_of_a_path(tmp_path: Path, name: str) -> None:
    assert settings(tmp_path, "--remote-cache-namespace", name).remote_cache_namespace == name


@pytest.mark.parametrize("name", ["..", "a/b", "-a", "A", "a b", "x" * 65, "a--b", "ä"])
def test_namespace_that_could_leave_its_place_is_refused(tmp_path: Path, name: str) -> None:
    assert "--remote-cache-namespace" in refused(tmp_path, f"--remote-cache-namespace={name}").message


def test_headers_are_pairs(tmp_path: Path) -> None:
    found = settings(tmp_path, "--remote-cache-header", "X-Team: os", "--remote-cache-header", "X-Key:$KEY")

    assert found.remote_cache_headers == (("X-Team", "os"), ("X-Key", "$KEY"))


@pytest.mark.parametrize("text", ["secret", "a b: secret", "X: secret\x07", ": secret"])
def test_wrong_header_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    error = refused(tmp_path, "--remote-cache-header", text)

    assert "secret" not in f"{error.message} {error.hint}"
    assert error.hint == "write NAME: VALUE, or NAME: $VARIABLE"


def test_password_in_a_wrong_url_is_not_shown(tmp_path: Path) -> None:
    assert "secret" not in refused(tmp_path, "--remote-cache", "x y://user:secret@host").message


def test_signing_key_is_a_path_or_the_key_itself(tmp_path: Path) -> None:
    key = "kitbuild-secret-ed25519:AAAA"

    assert settings(tmp_path, KITBUILD_SIGNING_KEY=key).signing_key == key
    assert settings(tmp_path, "--signing-key", "ci.key").signing_key == str(tmp_path / "ci.key")


def test_trusted_keys_are_what_keygen_prints(tmp_path: Path) -> None:
    keys = ("kitbuild-ed25519:AAAA", "kitbuild-ed25519:BBBB=")

    assert settings(tmp_path, KITBUILD_TRUSTED_KEYS=" ".join(keys)).trusted_keys == keys
    assert "keygen" in str(refused(tmp_path, "--trusted-key", "AAAA").hint)


def test_executor_properties_are_pairs(tmp_path: Path) -> None:
    found = settings(tmp_path, "--executor-property", "OSFamily=linux", "--executor-property", "pool=a=b")

    assert found.executor_properties == (("OSFamily", "linux"), ("pool", "a=b"))


@pytest.mark.parametrize("url", ["user:secret@host/x", "http:/user:secret@host/x", "x y://user:secret@host"])
def test_password_in_what_is_no_url_is_not_shown(tmp_path: Path, url: str) -> None:
    assert "secret" not in refused(tmp_path, KITBUILD_REMOTE_CACHE=url).message


def test_secret_key_where_a_public_one_belongs_is_not_shown(tmp_path: Path) -> None:
    error = refused(tmp_path, "--trusted-key", "kitbuild-secret-ed25519:c2VjcmV0")

    assert "c2VjcmV0" not in f"{error.message} {error.hint}"
