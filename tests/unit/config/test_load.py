from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from kitbuild.config.load import load
from kitbuild.config.model import TEMPLATE
from kitbuild.errors import ConfigErrors, Where
from kitbuild.reference import Reference
from tests.unit.config.configs import config, container, mistakes, shown, written

_EVERYTHING = """
    kernel:
      image: linuxkit/kernel:6.12.59
      cmdline: console=ttyS0
    init:
      - linuxkit/init:v1
      - runc
    onboot:
      - name: sysctl
        image: linuxkit/sysctl:v1
    onshutdown:
      - name: bye
        image: alpine
        command: [/bin/echo, bye]
    services:
      - name: web
        image: quay.io/team/web@sha256:{digest}
        env: []
    volumes:
      - name: data
      - name: layout
        image: alpine:3
        readonly: true
        format: oci
        platforms: [linux/amd64]
    files:
      - path: etc/motd
        contents: ""
        mode: "0644"
        uid: web
      - path: srv/
        directory: true
    trust:
      org: [linuxkit]
""".replace("{digest}", "ab" * 32)


def test_every_section_becomes_values() -> None:
    system = config(_EVERYTHING)

    assert system.kernel is not None
    assert system.kernel[:6] == (
        Reference("docker.io", "linuxkit/kernel", "6.12.59"),
        "linuxkit/kernel:6.12.59",
        "console=ttyS0",
        "kernel",
        "kernel.tar",
        "",
    )
    assert [str(image.reference) for image in system.init] == [
        "docker.io/linuxkit/init:v1",
        "docker.io/library/runc",
    ]
    assert [(one.section, one.name, one.bundle) for one in system.containers] == [
        ("onboot", "sysctl", "containers/onboot/000-sysctl"),
        ("onshutdown", "bye", "containers/onshutdown/000-bye"),
        ("services", "web", "containers/services/web"),
    ]
    assert system.services[0].reference.digest == f"sha256:{'ab' * 32}"
    assert system.services[0].options == {"env": []}
    assert system.onshutdown[0].options == {"command": ["/bin/echo", "bye"]}
    data, layout = system.volumes
    assert data[:6] == ("data", None, "", False, "", ())
    assert layout[:6] == (
        "layout",
        Reference("docker.io", "library/alpine", "3"),
        "alpine:3",
        True,
        "oci",
        ("linux/amd64",),
    )
    motd, srv = system.files
    assert motd[:10] == ("etc/motd", False, "", "", "", "", False, "0644", "web", None)
    assert srv[:4] == ("srv/", True, "", None)


def test_values_know_their_places() -> None:
    system = config(_EVERYTHING)

    assert system.kernel is not None
    assert system.kernel.place.where("image") == Where("<stdin>", 3, 10, "  image: linuxkit/kernel:6.12.59")
    assert system.init[1].place.where()[1:3] == (7, 5)
    assert system.services[0].place.where("env")[1:3] == (18, 10)
    assert system.services[0].place.key("env")[1:3] == (18, 5)
    assert system.services[0].place.at("env").where() == system.services[0].place.where("env")


@pytest.mark.parametrize(
    ("text", "kernel"),
    [
        pytest.param("{}", None, id="no kernel"),
        pytest.param("kernel: {cmdline: x, tar: none}", None, id="no image"),
        pytest.param("kernel: {image: ''}", None, id="an empty image"),
        pytest.param("kernel: {image: a}", ("", "kernel", "kernel.tar", ""), id="defaults"),
        pytest.param("kernel: {image: a, tar: none}", ("", "kernel", "", ""), id="no tar"),
        pytest.param("kernel: {image: a, tar: ''}", ("", "kernel", "", ""), id="empty tar"),
        pytest.param(
            "kernel: {image: a, cmdline: c, binary: b, tar: t, ucode: u}",
            ("c", "b", "t", "u"),
            id="everything",
        ),
    ],
)
def test_kernel_settings(text: str, kernel: tuple[str, ...] | None) -> None:
    value = config(text).kernel

    assert kernel == (value and value[2:6])


def test_templates_are_left_for_later() -> None:
    system = config(
        """
        init: ["@pkg:../init"]
        files: [{path: a, contents: "@reboot"}]
        """
    )

    assert system.init[0].reference == Reference(TEMPLATE, "../init")
    assert system.init[0].image_text == "@pkg:../init"
    assert system.files[0].contents == "@reboot"


def test_aliases_and_merge_keys_serve_containers() -> None:
    system = config(
        """
        onboot:
          - &dhcp {name: dhcp, image: alpine, command: [dhcpcd]}
        services:
          - {<<: *dhcp, name: dhcpd}
        """
    )

    assert system.services[0].name == "dhcpd"
    assert system.services[0].options == {"command": ["dhcpcd"]}


def test_no_source_is_an_empty_system() -> None:
    assert load([]) == config("{}")


# --- mistakes -------------------------------------------------------------------------------------------------


def test_every_mistake_is_reported_at_once_in_the_order_of_places() -> None:
    found = mistakes(
        """\
        kernel:
          image: linuxkit/kernel:6.12.59
          cmdlin: x
        init:
          - "bad image"
          - 5
        onboot:
          - name: a
            image: alpine
            bindz: [a:b]
            readonly: yes
            capabilities: [CAP_NET_ADMN]
            binds: [nopath, vol1:/x, fixed:/y]
            mounts:
              - {type: bind, source: volx, destination: /z}
            rlimits: ["nofil,1,2"]
            devices: [{path: /dev/x, type: c, mode: 0660}]
            uid: weeb
        services:
          - name: web
            image: foo
          - image: foo
          - name: web
            image: "a b"
        volumes:
          - name: vol-1
          - {name: fixed, readonly: true, format: ocii}
          - name: Bad
          - name: vol-1
        files:
          - path: etc/x
            mode: 0644
            contents: x
          - path: ../z
            contents: a
            source: b
            mode: "999"
            uid: nobody
        onboot: []
        foo: 1
        1: 2
        """
    )

    assert found == [
        "3:3 unknown key `cmdlin` (did you mean `cmdline`?)",
        "5:5 expected an image name such as linuxkit/init:v1, got `bad image` "
        "(write the name of an image as host/path:tag or path:tag)",
        "6:5 an entry of `init` is the name of an image such as linuxkit/init:v1, got 5 "
        "(put the value in quotes)",
        "10:5 unknown key `bindz` (did you mean `binds`?)",
        "11:15 `readonly` is true or false, got `yes` (write true, without quotes)",
        "12:20 expected a capability, got `CAP_NET_ADMN` (did you mean `CAP_NET_ADMIN`?)",
        "13:13 expected source:destination or source:destination:options, got `nopath` "
        "(add `:` and the destination)",
        "13:21 expected a path from `/` or the name of a volume, got `vol1` (did you mean `vol-1`?)",
        "13:30 volume `fixed` is read-only: expected `fixed:/y:ro`, got `fixed:/y` "
        "(bind it with the option `ro` alone)",
        "15:30 expected a path from `/` or the name of a volume, got `volx` (did you mean `vol-1`?)",
        "16:15 expected the name of a limit, got `nofil` (did you mean `nofile`?)",
        '17:45 `mode` is an octal string such as "0644", got 432 '
        '(put the digits in quotes, such as "0644": without them YAML reads a number)',
        "18:10 expected a number, `root` or the name of a container, got `weeb` (did you mean `web`?)",
        "22:5 expected the key `name` (add `name:` to this entry)",
        "23:11 expected each service name once, got `web` again (rename one; the first is at <stdin>:20:11)",
        "24:12 expected an image name such as linuxkit/init:v1, got `a b` "
        "(write the name of an image as host/path:tag or path:tag)",
        "27:43 expected `oci` or `filesystem`, got `ocii` (did you mean `oci`?)",
        "28:11 expected a volume name of a-z, 0-9, `_` and `-`, got `Bad` (rename the volume)",
        "29:11 expected each volume name once, got `vol-1` again (rename one; the first is at <stdin>:26:11)",
        '32:11 `mode` is an octal string such as "0644", got 420 '
        '(put the digits in quotes, such as "0644": without them YAML reads a number)',
        "34:11 expected a path inside the system, got `../z` (write the path from the root, without `..`)",
        "36:13 expected one kind of content, got `contents` and `source` (keep one of them)",
        '37:11 `mode` is an octal string such as "0644", got `999` (write three or four digits from 0 to 7)',
        "38:10 expected a number, `root` or the name of a container, got `nobody` "
        "(name an entry of onboot, onshutdown or services, or give the number)",
        "39:1 expected each key once, got `onboot` again (remove it, or join it with the one in line 7)",
        "40:1 unknown key `foo` (use one of `kernel`, `init`, `onboot`, `onshutdown`, `services`, "
        "`volumes`, `files`, `trust`)",
        '41:1 expected text as a key, got a number (`1`) (write "1": in quotes)',
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "onboot:\n", "1:8 `onboot` is a list, got nothing (give a value, or remove the key)", id="list"
        ),
        pytest.param(
            "kernel:\n",
            "1:8 `kernel` is a mapping of keys, got nothing (give a value, or remove the key)",
            id="mapping",
        ),
        pytest.param(
            "- a\n",
            "1:1 expected a mapping of sections such as kernel, init and services, got a list "
            "(start with a key such as `kernel:`)",
            id="a list as config",
        ),
        pytest.param(
            "services: [web]\n",
            "1:12 an entry of `services` is a mapping of keys, got `web` (write keys such as `name:` and `image:`)",
            id="text as entry",
        ),
        pytest.param(
            "init: a\n", '1:7 `init` is a list, got `a` (write a list: ["a"])', id="text as list of images"
        ),
        pytest.param(
            "volumes: [{name: v, image: 'a b'}]\n",
            "1:28 expected an image name such as linuxkit/init:v1, got `a b` "
            "(write the name of an image as host/path:tag or path:tag)",
            id="image of a volume",
        ),
        pytest.param(
            "kernel: {image: 'a:'}\n",
            "1:17 expected a tag of letters, digits, `.`, `_` and `-` after `:`, got nothing "
            "(write the name of an image as host/path:tag or path:tag)",
            id="image of the kernel",
        ),
    ],
)
def test_one_slip_is_one_message(text: str, expected: str) -> None:
    assert [expected] == mistakes(text)


def test_a_broken_key_does_not_hide_other_mistakes_or_make_new_ones() -> None:
    found = mistakes(
        """\
        onboot:
          - name: prep
            image: 5
            uid: prep
            tmpfs: 3
            net: 4
            rlimits: [x]
        volumes:
          - {name: v, readonly: 1}
        services:
          - {name: a, image: i, binds: ["v:/v"], uid: prep}
        """
    )

    assert [line.split(" ")[0] for line in found] == ["3:12", "5:12", "6:10", "7:15", "9:25"]


def test_the_mistakes_of_all_files_come_together(tmp_path: Path) -> None:
    first = written(tmp_path, "init: [a b]\nservices: [{name: web, image: a}]\n", name="a.yml")
    broken = written(tmp_path, "a: b: c\n", name="b.yml")
    last = written(tmp_path, "services: [{name: web, image: a}]\n", name="c.yml")
    missing = str(tmp_path / "d.yml")

    with pytest.raises(ConfigErrors) as raised:
        load([missing, first, broken, last, str(tmp_path)])

    assert [(error.where and error.where.file, shown(error)) for error in raised.value.errors] == [
        (None, f"cannot read `{missing}`: no such file or directory (check the path of the config)"),
        (
            first,
            "1:8 expected an image name such as linuxkit/init:v1, got `a b` "
            "(write the name of an image as host/path:tag or path:tag)",
        ),
        (
            broken,
            "1:5 expected one `key: value` here, got another `: ` "
            "(put a value that holds `: ` in quotes, correct the indentation, or end the line above with `:`)",
        ),
        (
            last,
            f"1:19 expected each service name once, got `web` again (rename one; the first is at {first}:2:19)",
        ),
        (None, f"cannot read `{tmp_path}`: is a directory (check the path of the config)"),
    ]
    assert raised.value.message == "5 mistakes in the config"
    assert raised.value.exit_status == 2


def test_stdin_is_needed_only_if_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "init: [a]\n")

    assert len(load([path]).init) == 1
    with pytest.raises(ConfigErrors) as raised:
        load(["-"])

    assert [error.message for error in raised.value.errors] == ["expected a config on stdin, got none"]


def test_names_of_onboot_entries_may_repeat() -> None:
    system = config("onboot: [{name: run, image: a}, {name: run, image: a}]")

    assert [one.bundle for one in system.onboot] == [
        "containers/onboot/000-run",
        "containers/onboot/001-run",
    ]


# --- several files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "kernel"),
    [
        pytest.param("{image: a}", "{image: b}", ("b", "", "kernel", "kernel.tar", ""), id="later image"),
        pytest.param(
            "{image: a, cmdline: c}", "{cmdline: ''}", ("a", "c", "kernel", "kernel.tar", ""), id="empty"
        ),
        pytest.param(
            "{image: a, cmdline: c, binary: k}",
            "{cmdline: d}",
            ("a", "d", "k", "kernel.tar", ""),
            id="cmdline",
        ),
        pytest.param("{image: a, binary: k}", "{binary: l}", ("a", "", "l", "kernel.tar", ""), id="binary"),
        pytest.param("{image: a, tar: t}", "{tar: ''}", ("a", "", "kernel", "", ""), id="empty tar counts"),
        pytest.param("{image: a, tar: t}", "{}", ("a", "", "kernel", "t", ""), id="absent tar does not"),
        pytest.param(
            "{image: a, ucode: u}", "{ucode: ''}", ("a", "", "kernel", "kernel.tar", ""), id="ucode"
        ),
        pytest.param(
            "{cmdline: c}", "{image: a}", ("a", "c", "kernel", "kernel.tar", ""), id="image comes later"
        ),
    ],
)
def test_later_kernel_settings_win(first: str, second: str, kernel: tuple[str, ...], tmp_path: Path) -> None:
    paths = [
        written(tmp_path, f"kernel: {text}\n", name=name)
        for name, text in (("a.yml", first), ("b.yml", second))
    ]

    merged = load(paths).kernel

    assert merged is not None
    assert kernel == merged[1:6]


def test_sections_are_joined_and_counted_through(tmp_path: Path) -> None:
    paths = [
        written(
            tmp_path,
            f"""
            init: [{name}]
            onboot: [{{name: {name}, image: {name}}}]
            services: [{{name: {name}, image: {name}, binds: ["vol{name}:/v", "vola:/w"]}}]
            volumes: [{{name: vol{name}}}, {{name: same, readonly: true}}]
            files: [{{path: {name}, contents: x, uid: a}}]
            """,
            name=f"{name}.yml",
        )
        for name in ("a", "b")
    ]

    system = load(paths)

    assert [image.image_text for image in system.init] == ["a", "b"]
    assert [one.bundle for one in system.onboot] == ["containers/onboot/000-a", "containers/onboot/001-b"]
    assert [service.name for service in system.services] == ["a", "b"]
    assert [file.path for file in system.files] == ["a", "b"]
    assert [volume.name for volume in system.volumes] == ["vola", "same", "volb", "same"]
    assert system.volumes_by_name()["same"] is system.volumes[3]
    assert system.services[1].place.where().file == paths[1]


def test_the_place_of_the_kernel_is_where_its_image_is(tmp_path: Path) -> None:
    first = written(tmp_path, "kernel: {image: a}\n", name="a.yml")
    second = written(tmp_path, "kernel: {cmdline: c}\n", name="b.yml")

    kernel = load([first, second]).kernel

    assert kernel is not None
    assert kernel.place.where("image") == Where(first, 1, 17, "kernel: {image: a}")


# --- helpers of the model -------------------------------------------------------------------------------------


def test_a_volume_knows_where_it_is_mounted() -> None:
    assert config("volumes: [{name: data}]").volumes[0].merged == "/containers/volumes/data/merged"


def test_options_keep_what_is_present_but_empty() -> None:
    assert container("env: []\nreadonly: false\nnet: ''").options == {"env": [], "readonly": False, "net": ""}


def test_stdin_may_be_one_of_several_sources(tmp_path: Path) -> None:
    path = written(tmp_path, "init: [a]\n")

    system = load([path, "-"], stdin=BytesIO(b"init: [b]\n"))

    assert [image.image_text for image in system.init] == ["a", "b"]
    assert system.volumes == ()


def test_a_name_given_twice_is_found_beside_other_mistakes_in_the_entry() -> None:
    found = mistakes(
        """\
        services:
          - {name: web, image: a}
          - {name: web, image: a, bindz: []}
          - {image: a}
          - {image: a}
        """
    )

    assert [line.split(" ")[0] for line in found] == ["3:12", "3:27", "4:5", "5:5"]
