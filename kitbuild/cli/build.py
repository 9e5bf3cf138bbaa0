"""kitbuild build: makes what boots."""

from __future__ import annotations

import stat
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from kitbuild import __version__
from kitbuild.cli.configs import DEFAULT_FORMAT, Lowered, add_config_arguments, lowered, output_name, scope_of
from kitbuild.cli.linuxkit import add_linuxkit_flags, check_linuxkit_flags
from kitbuild.errors import BuildError, KitbuildError, MissingBlobError, UsageError
from kitbuild.event import BuildStarted, OutputStarted, OutputWritten, Warned
from kitbuild.graph import Graph
from kitbuild.registry import formats_named

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from kitbuild.cli.remote import Caches
    from kitbuild.engine import Executor
    from kitbuild.history import Builds
    from kitbuild.report import BuildReport, ReportKind
    from kitbuild.rule import Artifact
    from kitbuild.store import Notes, Result, Store

_DESCRIPTION = """\
Builds a bootable system from LinuxKit configs, running only what is not in the cache yet.

  kitbuild build linuxkit.yml                        linuxkit-kernel, linuxkit-initrd.img, linuxkit-cmdline
  kitbuild build --format iso,qcow2-efi linuxkit.yml an ISO and a disk; `kitbuild formats` lists all
  kitbuild build --format tar linuxkit.yml           the root file system as linuxkit.tar
  kitbuild build --output - linuxkit.yml | gzip >x   the same into a pipe
  kitbuild build -v base.yml site.yml                two configs merged; says of each node why it runs
  kitbuild build --remote-cache URL linuxkit.yml     takes from a remote cache what others built
"""


class Target(NamedTuple):
    """What to make and where: `base` is the path outputs begin with; `single`, if given, is the one output."""

    formats: tuple[str, ...]
    base: Path
    single: str | None = None

    def path(self, suffix: str) -> Path:
        """The path of the output that ends so."""
        return Path(self.single) if self.single else self.base.parent / f"{self.base.name}{suffix}"


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "build",
        usage="kitbuild build [flags] CONFIG [CONFIG ...]",
        help="build a bootable system",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_config_arguments(parser)
    parser.add_argument(
        "-f",
        "--format",
        action="append",
        default=[],
        metavar="FORMAT[,FORMAT]",
        help=f"what to make (repeatable; default: {DEFAULT_FORMAT}); `kitbuild formats` lists them",
    )
    parser.add_argument("--name", help="name of the outputs (default: that of the last config)")
    parser.add_argument("--dir", type=Path, help="folder of the outputs (default: this one)")
    parser.add_argument(
        "-o",
        "--output",
        "--o",
        metavar="FILE",
        help="write a format of one file to FILE; `-` is stdout",
    )
    parser.add_argument("--no-cache", action="store_true", help="run every node, whatever the cache holds")
    parser.add_argument(
        "--require-cached", action="store_true", help="fail at the first node that would run, and say why"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show the configs merged into one, and build nothing"
    )
    parser.add_argument(
        "-v",
        "--verbose",
        action="count",
        default=0,
        help="say of each node why it runs; -vv also what it gave (LinuxKit's `-v 2` and `-v 3`)",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    parser.add_argument("--json", action="store_true", help="report as one JSON object a line, on stdout")
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write a page (HTML) about the build to FILE"
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="write what the build was made of to FILE, for `kitbuild why --since`",
    )
    parser.add_argument(
        "--profile", type=Path, metavar="FILE", help="write when what ran to FILE, for Perfetto or Chrome"
    )
    add_linuxkit_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Builds and writes the outputs."""
    if arguments.dry_run:
        target_of(arguments)
        check_linuxkit_flags(arguments)
        return _dry_run(arguments)
    from kitbuild.config.sources import name_of

    report = _report(arguments)
    try:
        report(BuildStarted(__version__, tuple(map(name_of, arguments.configs))))
        _run(arguments, report)
    except BaseException as error:
        report.fail(error)
        raise
    report.finish()
    return 0


def _report(arguments: Namespace) -> BuildReport:
    """What tells the user of the build."""
    from kitbuild.report import open_report

    # Before there is a report, which would tell this where the output is expected.
    if arguments.output == "-" and arguments.json:
        raise UsageError("expected either `--json` or the output on stdout, got both")
    kind: ReportKind = "json" if arguments.json else "quiet" if arguments.quiet else "auto"
    stream = sys.stdout if arguments.json else sys.stderr
    if arguments.profile is not None:
        check_folder(arguments.profile.parent)
    return open_report(kind, verbosity=arguments.verbose, stream=stream, profile=arguments.profile)


def _run(arguments: Namespace, report: BuildReport) -> None:
    target = target_of(arguments)
    warnings = check_linuxkit_flags(arguments)
    check_folder(target.path("").parent)
    for path in (arguments.report, arguments.record):
        if path is not None:
            check_folder(path.parent)
    found = lowered(arguments, formats=target.formats)
    _check_one_output(target, list(found.graph.outputs))
    report.locate(found.graph, found.origins)
    for warning in (*warnings, *found.warnings):
        report(Warned(warning))
    from kitbuild.cli.remote import Purpose, caches

    purpose = Purpose(scope_of(arguments), explains=arguments.require_cached or arguments.verbose > 0)
    with found.store.lease(), caches(found.settings, found.store, report, purpose) as using:
        _build(arguments, found, using, target=target, report=report)


def check_folder(folder: Path) -> None:
    """Raises UsageError if there is no folder: nothing is built for one that is not there."""
    choose = "choose another folder"
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise UsageError(f"expected a folder at `{folder}`, got a file", hint=choose)
    except FileNotFoundError as error:
        message = f"expected a folder at `{folder}`, got none"
        raise UsageError(message, hint=f"make it first: mkdir -p {quote(str(folder))}") from error
    except OSError as error:
        raise UsageError(f"cannot use the folder `{folder}`: {error.strerror}", hint=choose) from error


def _dry_run(arguments: Namespace) -> int:
    from kitbuild.config.dump import dry_run
    from kitbuild.config.load import load

    text = dry_run(load(arguments.configs, stdin=sys.stdin.buffer))
    # LinuxKit ends with an empty line too.
    sys.stdout.buffer.write(f"{text}\n".encode())
    return 0


def target_of(arguments: Namespace) -> Target:
    """What the command line asks for; raises UsageError for what cannot go together."""
    names = tuple(name for text in arguments.format for name in text.split(",") if name)
    single = arguments.output
    names = names or (("tar",) if single else (DEFAULT_FORMAT,))
    formats = formats_named(names)
    streams = [output_format.name for output_format in formats if output_format.stream]
    if streams and len(formats) > 1:
        raise UsageError(
            f"expected `{streams[0]}` alone, got {len(formats)} formats", hint="build it by itself"
        )
    if single:
        _check_single(arguments, names)
    if arguments.name == "":
        raise UsageError("expected a name with `--name`, got none")
    base = (arguments.dir or Path()) / output_name(arguments)
    return Target(tuple(entry.name for entry in formats), base, single)


def _check_single(arguments: Namespace, names: Sequence[str]) -> None:
    if arguments.name or arguments.dir:
        raise UsageError("expected either `--output` or `--name` and `--dir`, got both")
    if len(names) > 1:
        raise UsageError(
            f"expected one format with `--output`, got {len(names)}", hint="build them one after the other"
        )


def _check_one_output(target: Target, outputs: Sequence[str]) -> None:
    if target.single and len(outputs) > 1:
        raise UsageError(
            f"expected a format of one file with `--output`, got `{target.formats[0]}`, which has "
            f"{len(outputs)}",
            hint="use `--dir` and `--name` in place of `--output`, or another format of `kitbuild formats`",
        )


def _build(
    arguments: Namespace, found: Lowered, using: Caches, *, target: Target, report: BuildReport
) -> None:
    from kitbuild.engine import Settings, build
    from kitbuild.export import in_place
    from kitbuild.history import Builds

    history = Builds(
        found.store,
        scope_of(arguments),
        origins=found.origins,
        elsewhere=using.elsewhere,
        always=_wants_record(arguments),
    )
    paths = {suffix: target.path(suffix) for suffix in found.graph.outputs}

    def wanted(suffix: str, artifact: Artifact) -> bool:
        return target.single == "-" or in_place(paths[suffix], artifact, found.store) is None

    def stop() -> None:
        error = sys.exception()
        if isinstance(error, KeyboardInterrupt):
            # Before what runs is waited for, which may take so long that the program is ended.
            report.fail(error)
        using.stop()

    def built(store: Store, executor: Executor | None) -> Mapping[str, Result]:
        settings = Settings(
            found.settings.jobs,
            use_cache=not arguments.no_cache,
            require_cached=arguments.require_cached,
            executor=executor,
            stop=stop,
            expected=lambda: _seconds_before(history, found.graph),
        )
        return build(found.graph, store, report=report, history=history, settings=settings, wanted=wanted)

    store = using.store
    try:
        try:
            results = built(store, using.executor)
        except (BuildError, MissingBlobError) as error:
            if not using.remote or not _lost_content(error):
                raise
            # What is elsewhere may vanish under a build again and again; what is here does not.
            report(Warned("the remote cache keeps losing what it had: building without it"))
            store = found.store
            results = built(store, None)
        using.share(history)
        for suffix, path in paths.items():
            nodes = Graph.of({suffix: found.graph.outputs[suffix]}).nodes
            share = len(nodes), report.cached(nodes)
            _export(results[suffix], path, share, store=store, notes=found.store, report=report)
    finally:
        # Of a build that failed too: then one wants it most. With the outputs in place, so that it tells of them.
        # One that was interrupted has to end soon.
        if not isinstance(sys.exception(), KeyboardInterrupt):
            _write_records(arguments, found, history, paths=paths, report=report)


def _seconds_before(history: Builds, graph: Graph) -> dict[str, float]:
    """How long the nodes took in the last build, by name."""
    record = history.latest()
    before = record.nodes if record else {}
    return {node.name: before[node.name].seconds for node in graph if node.name in before}


def _wants_record(arguments: Namespace) -> bool:
    return arguments.report is not None or arguments.record is not None


def _write_records(
    arguments: Namespace, found: Lowered, history: Builds, *, paths: Mapping[str, Path], report: BuildReport
) -> None:
    """Writes what the user wants to keep of this build, if it came so far that there is anything to tell."""
    if not _wants_record(arguments):
        return
    record = history.kept()
    if record is None:
        # What is there may be about an earlier build.
        names = " and ".join(f"`{path}`" for path in (arguments.record, arguments.report) if path)
        report(Warned(f"{names} not written: the build ended too early to tell of it"))
        return
    from kitbuild.cli.report import write_record, write_report

    if arguments.record is not None:
        write_record(arguments.record, record)
    if arguments.report is not None:
        write_report(arguments.report, record, found, paths)


def _lost_content(error: BuildError | MissingBlobError) -> bool:
    return isinstance(error, MissingBlobError) or any(
        isinstance(failure, MissingBlobError) for _, failure in error.failures
    )


def _export(
    result: Result, path: Path, share: tuple[int, int], *, store: Store, notes: Notes, report: BuildReport
) -> None:
    """Writes an output; `share` is how many nodes it is made of, and how many of them were cached."""
    from kitbuild import export

    if str(path) == "-":
        _pour(result, store)
        return
    started = time.monotonic()
    there = export.in_place(path, result.artifact, notes)
    if there is not None:
        report(OutputWritten(path, there, False, time.monotonic() - started, *share))
        return
    report(OutputStarted(path, export.extents_of(result.file(store), store).size))
    written = export.export(result, path, store=store, notes=notes)
    report(OutputWritten(path, written.digest, written.fresh, time.monotonic() - started, *share))


def _pour(result: Result, store: Store) -> None:
    """Writes an output to stdout."""
    from kitbuild import export

    try:
        export.write(export.extents_of(result.file(store), store), sys.stdout.buffer, store)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise KitbuildError(f"cannot write to stdout: {error.strerror}") from error
