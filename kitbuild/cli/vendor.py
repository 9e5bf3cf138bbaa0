"""kitbuild vendor: collect all that a build needs in one folder."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction

_DESCRIPTION = """\
Collects all that a build needs in one folder: the images as an OCI image layout, packages of boot loaders, files, the
configs, their lock and settings. Carried to a machine without a network, it is all that is needed there:

  kitbuild vendor bundle linuxkit.yml               here; again after a change: only what is new is copied
  cd bundle && kitbuild build --locked linuxkit.yml there; the outputs are the same, byte for byte

  kitbuild vendor --arch amd64,arm64 --format iso bundle linuxkit.yml
                                                    for two architectures, with the boot loaders of ISOs
  kitbuild vendor --prune bundle linuxkit.yml       remove what is not needed any more

The lock beside the config counts; what is not in it is looked up. skopeo reads the layout as oci:bundle:NAME, and
`kitbuild build --images bundle` finds its images from anywhere.
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "vendor",
        usage="kitbuild vendor [flags] DIR CONFIG [CONFIG ...]",
        help="collect all that a build needs in one folder",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    from kitbuild.cli.lock_flags import add_locking_arguments

    parser.add_argument("folder", metavar="DIR", help="the folder to fill; made if it is not there")
    add_locking_arguments(parser, configs="CONFIG", help_text="a LinuxKit YAML file, a URL, or `-`")
    parser.add_argument(
        "--lock", metavar="FILE", help="the lock (default: CONFIG.lock beside the last config)"
    )
    parser.add_argument(
        "--locked", action="store_true", help="fail unless everything a config names is in its lock"
    )
    parser.add_argument("--prune", action="store_true", help="remove from DIR what is not needed any more")
    parser.add_argument("--json", action="store_true", help="tell what was done as one JSON object")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Fills the folder and gives the exit status."""
    import json
    import sys

    from kitbuild.cli.vendoring import vendor
    from kitbuild.report.text import human_size, plural, printable

    counts = vendor(arguments)
    if arguments.json:
        text = json.dumps({"folder": arguments.folder, **counts._asdict()}, indent=2)
    else:
        text = f"{arguments.folder}: {plural(counts.written, 'file')} written ({human_size(counts.bytes)})"
        text += f", {counts.kept} there already"
        text += f", {counts.removed} removed" if arguments.prune else ""
    sys.stdout.write(printable(text) + "\n")
    return 0
