"""What `kitbuild help` explains beside commands: topics, made of what the program declares where that says it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from kitbuild.cli.page import Heading, Page, Prose, Rows, Verbatim

if TYPE_CHECKING:
    from kitbuild.settings import Setting


class Topic(NamedTuple):
    """What it is about in one line, and the page, which is made when it is asked for."""

    summary: str
    page: Callable[[], Page]


# Variables that are no setting and mean something all the same.
OTHER_VARIABLES: Mapping[str, str] = {
    "KITBUILD_REMOTE_CACHE_TOKEN": "a token for the remote cache, sent as `Authorization: Bearer`",
    "CI": "plain lines in place of live progress, as where there is no terminal",
    "DOCKER_CONFIG": "the folder of Docker's config.json, where passwords of registries are read from",
    "FORCE_COLOR": "colour output that goes to no terminal too",
    "NO_COLOR": "no colour, whatever it is set to; `--color` overrules both",
    "PAGER": "what shows long help on a terminal (default: less)",
    "XDG_CACHE_HOME": "the folder that the cache is in, if no setting says where (default: ~/.cache)",
}
EXIT_STATUSES = (
    ("0", "done: every output is in place. A reader that goes away early (`kitbuild ls | head`) is no error"),
    (
        "1",
        "a node failed, or the world did: a registry is down, the disk is full, something is not what its digest "
        "says; also a check that found something: `cache verify`, `diff --budget` and `--exit-code`, `lock --check`, "
        "`doctor`",
    ),
    ("2", "the config or the command line is wrong; nothing was begun"),
    ("130", "interrupted: by Ctrl-C, SIGTERM, or a terminal that was closed; outputs are old or whole"),
)


def _config() -> Page:
    return (
        Prose("A config is a LinuxKit YAML file: which images make up a system, and what runs in it."),
        Rows(
            (
                ("kernel", "the kernel's image, and the command line it is started with"),
                ("init", "images, laid over each other into the root file system"),
                ("onboot", "containers that run one after another while the system boots, each to its end"),
                ("services", "containers that are started together after that, and stay"),
                ("onshutdown", "containers that run one after another when the system shuts down"),
                ("volumes", "named folders that containers share"),
                ("files", "files, folders and links, laid over all that images bring"),
            )
        ),
        Verbatim(
            "kernel:\n"
            "  image: linuxkit/kernel:6.12.59\n"
            '  cmdline: "console=ttyS0"\n'
            "services:\n"
            "  - name: getty\n"
            "    image: linuxkit/getty:a86d74c8f89be8956330c3b115b0b1f2e09ef6e0\n"
            "    env: [INSECURE=true]\n"
        ),
        Prose("`kitbuild init` writes one to start from, with a comment on every part."),
        Prose(
            "Several configs are merged: lists are joined, of the kernel's keys the last one given counts."
        ),
        Verbatim(
            "kitbuild build base.yml site.yml\nkitbuild build --dry-run base.yml site.yml   # see them merged"
        ),
        Prose(
            "`kitbuild schema` writes a JSON Schema with every key, for editors and checks. docs/config.md has the "
            "same as tables."
        ),
    )


def _formats() -> Page:
    from kitbuild.cli.formats import summary_of
    from kitbuild.registry import formats

    known = formats()
    streams = [f"`{name}`" for name, one in known.items() if one.stream]
    return (
        Prose(
            "A format is a named set of outputs, whose names begin with NAME: the config's without .yml, or that of "
            "`--name`. Several are made by one build and share what they have in common. In brackets: the boot "
            "loaders that a format takes, and so the architectures it can be made for."
        ),
        Rows(tuple((name, summary_of(one)) for name, one in known.items())),
        Prose(
            f"{' and '.join(streams)} are streams, for a pipe: each is made by a build of its own, and cannot be "
            "combined with another format."
        ),
        Verbatim(
            "kitbuild build --format iso,qcow2-efi linuxkit.yml\n"
            "kitbuild build --format tar --output - linuxkit.yml | tar t"
        ),
    )


def _images() -> Page:
    return (
        Prose(
            "An image is named as with Docker: `redis:7` is docker.io/library/redis:7. It is looked for in, by turns:"
        ),
        Rows(
            (
                ("--images PATH", "OCI image layouts, and tars of `docker save`"),
                ("--cache DIR", "LinuxKit's image cache (~/.linuxkit/cache), which is never changed"),
                ("what is known", "what a registry answered before: a tag stays what it was until `--pull`"),
                (
                    "the registry",
                    "over its mirror if there is one (`--mirror`), and not at all with `--offline`",
                ),
            )
        ),
        Prose("Passwords of registries are those of `docker login`."),
        Verbatim("docker save -o redis.tar redis:7\nkitbuild build --images redis.tar linuxkit.yml"),
    )


def _boot_loaders() -> Page:
    from kitbuild.config.loaders import LOADERS

    rows = tuple(
        (name, f"for {', '.join(found)}; from {' and '.join(_packages(found))}")
        for name, found in LOADERS.items()
    )
    return (
        Prose(
            "A disk or CD that boots by itself has a boot loader on it. None is taken that happens to be installed: "
            "the default is packages of Debian, named by their digest, which the machine's own apt fetches once."
        ),
        Rows(rows),
        Prose("Another source is a folder, a .deb, an image, or a package on the machine's mirrors:"),
        Verbatim(
            "--boot-loader grub=vendor/grub\n"
            "--boot-loader syslinux=vendor/syslinux.deb+vendor/isolinux.deb\n"
            "--boot-loader grub=image:example/grub:v1"
        ),
    )


def _packages(found: Mapping[str, object]) -> list[str]:
    from kitbuild.config.loaders import Loader

    packages = [one for loader in found.values() if isinstance(loader, Loader) for one in loader.packages]
    return list(dict.fromkeys(package.path.rpartition("/")[2].partition("_")[0] for package in packages))


def _cache() -> Page:
    return (
        Prose(
            "Everything that is fetched or made is kept in the local cache, by its content, and every result by a "
            "key over all it depends on. What did not change is never made again; several builds may share one cache."
        ),
        Rows(
            (
                (
                    "where",
                    "--cache-dir, else $KITBUILD_CACHE_DIR, else $XDG_CACHE_HOME/kitbuild, else ~/.cache/kitbuild",
                ),
                ("kitbuild cache info", "how much is there"),
                ("kitbuild cache gc --max-size 10G", "drop what was used longest ago"),
                ("kitbuild cache verify", "hash everything again"),
                ("kitbuild graph CONFIG", "what is cached of a config"),
                ("kitbuild why NODE", "why something was made again"),
                ("kitbuild build --no-cache CONFIG", "make everything again"),
            )
        ),
    )


def _remote_cache() -> Page:
    from kitbuild.settings import TABLE

    return (
        Prose(
            "A remote cache is where builds of several machines keep results and content. It is asked for what is "
            "not in the local cache; only what outputs need is downloaded, and every byte is hashed again."
        ),
        Rows(
            (
                ("http(s)://", "Bazel's HTTP cache protocol: bazel-remote, nginx, `kitbuild cache serve`"),
                ("grpc(s)://", "REAPI 2; wants `pip install 'kitbuild[reapi]'`"),
                ("oci://", "a registry of images"),
                ("s3://", "S3 and what speaks its protocol; wants `pip install 'kitbuild[s3]'`"),
                ("file://", "a folder, also on a network file system"),
            )
        ),
        Verbatim(
            "kitbuild build --remote-cache https://cache.example.com linuxkit.yml\n"
            "kitbuild build --remote-cache URL --remote-cache-write linuxkit.yml   # keep there what is built\n"
            "kitbuild doctor                                                       # can it be reached?"
        ),
        Heading("settings"),
        Rows(
            tuple(
                (one.flag, one.help)
                for one in TABLE
                if one.name.startswith(("remote_cache", "signing", "trusted"))
            )
        ),
    )


def _settings() -> Page:
    from kitbuild.settings import FILE_NAME, TABLE

    return (
        Prose(
            f"A setting is a flag, a variable, or a key of {FILE_NAME}, which is looked for in the current folder "
            "and those above. A flag wins over the variable, the variable over the file."
        ),
        Rows(tuple((one.flag, f"{one.help} [{one.variable}]") for one in TABLE)),
        Verbatim(f'# {FILE_NAME}\nimages = ["vendor/images"]\ncompression = "zstd"'),
    )


def _environment() -> Page:
    from kitbuild.settings import TABLE

    return (
        Prose(
            "Variables of settings; a flag overrules them, they overrule kitbuild.toml (`kitbuild help settings`):"
        ),
        Rows(tuple((one.variable, _variable_help(one)) for one in TABLE)),
        Prose("Others:"),
        Rows(tuple(OTHER_VARIABLES.items())),
        Prose("Nothing of the environment can change what is built, only how and where from."),
    )


def _variable_help(setting: Setting) -> str:
    """The help of a setting, with what stands between several values in a variable."""
    from kitbuild import setting_values as read

    between = "commas or spaces"
    if setting.read in (read.paths, read.headers):
        between = "`:`" if setting.read is read.paths else "line breaks"
    return setting.help.replace("repeatable", f"several with {between} between")


def _exit_status() -> Page:
    return (
        Rows(EXIT_STATUSES),
        Verbatim(
            "kitbuild build linuxkit.yml\n"
            "case $? in\n"
            "  0) echo built ;;\n"
            "  2) echo mend the config ;;\n"
            "  *) echo try again ;;\n"
            "esac"
        ),
    )


def _files() -> Page:
    return (
        Rows(
            (
                ("linuxkit.yml", "a config; it may have any name"),
                (
                    "linuxkit.yml.lock",
                    "what its images were when `kitbuild lock` was run; belongs beside it in git",
                ),
                ("kitbuild.toml", "settings of a project, in its top folder"),
                ("~/.cache/kitbuild", "the local cache; it may be removed while no build runs"),
                ("~/.linuxkit/cache", "LinuxKit's image cache: read, never changed"),
                ("~/.docker/config.json", "passwords of registries, as `docker login` writes them"),
                ("~/.netrc", "passwords of remote caches and of configs given as URLs"),
            )
        ),
    )


def _events() -> Page:
    return (
        Prose(
            "`kitbuild build --json` writes one JSON object a line to stdout, each with its `event`: what began, "
            "what was cached and from where, what ran and why, what was written. Every line stands for itself."
        ),
        Verbatim(
            "kitbuild build --json linuxkit.yml | jq -r 'select(.event == \"output-written\") | .path'\n"
            "kitbuild build --profile trace.json linuxkit.yml     # for Perfetto or Chrome"
        ),
        Prose("`kitbuild schema --events` writes their JSON Schema; docs/progress.md explains them."),
    )


def _lock() -> Page:
    return (
        Prose(
            "A tag is what its registry says today. A lock writes down what it was: with CONFIG.lock beside CONFIG, "
            "builds take exactly those images and files, on every machine, until you move them."
        ),
        Verbatim(
            "kitbuild lock linuxkit.yml             # writes linuxkit.yml.lock\n"
            "kitbuild build --locked linuxkit.yml   # refuses what is not in it: for CI\n"
            "kitbuild update linuxkit.yml           # moves its entries, and shows what changed\n"
            "kitbuild vendor DIR linuxkit.yml       # all that a build needs in a folder: no network at all"
        ),
    )


def _why() -> Page:
    return (
        Prose(
            "A node runs if anything its result depends on is not as it was: the config, a file, an image behind a "
            "tag, a rule or a tool. kitbuild remembers what each build was made of, and compares."
        ),
        Verbatim(
            "kitbuild build -v linuxkit.yml   # says it of each node as it runs\n"
            "kitbuild why                     # what made the last build run anything\n"
            "kitbuild why initrd              # why that node ran; names are those of `kitbuild graph`\n"
            "kitbuild why linuxkit.yml        # what would run now\n"
            "kitbuild history                 # the builds that can be compared with"
        ),
    )


TOPICS: Mapping[str, Topic] = {
    "config": Topic("what can be written in a config", _config),
    "formats": Topic("what can be made", _formats),
    "images": Topic("where images come from", _images),
    "boot-loaders": Topic("what starts a disk or CD, and where it comes from", _boot_loaders),
    "cache": Topic("what is kept, and where", _cache),
    "remote-cache": Topic("sharing results between machines", _remote_cache),
    "lock": Topic("the same images on every machine", _lock),
    "why": Topic("why something is made again", _why),
    "settings": Topic("flags, variables and kitbuild.toml", _settings),
    "environment": Topic("variables that are read", _environment),
    "files": Topic("files that are read and written", _files),
    "events": Topic("reports for programs", _events),
    "exit-status": Topic("what the exit status says", _exit_status),
}
