"""Listening: a cache server's life, from the address it listens on to the signal that ends it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import signal
import ssl
import traceback
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from kitbuild.cache.server import Policy, Server, Tell
from kitbuild.cache.server_rights import OpenRights, Rights, read_rights
from kitbuild.cache.server_storage import Storage
from kitbuild.errors import KitbuildError, StoreError, UsageError

# What was begun when the server is told to end gets so long to be done.
_DRAIN_SECONDS = 30
# The rest of a refused body is read and thrown away for so long, so that the client gets to read why.
_LINGERING_SECONDS = 5
# How much of a body is taken from the network ahead of who writes it down.
_READ_BYTES = 256 << 10

_LAST_PORT = 65535


class Options(NamedTuple):
    """What a server is started with; `address` is `HOST:PORT`, port 0: any that is free.

    A connection without a whole request for `idle_seconds` is closed: builds ask again within seconds. For
    `patience_seconds` see Policy.
    """

    folder: Path
    address: str
    read_only: bool = False
    token_file: Path | None = None
    max_bytes: int | None = None
    certificate: Path | None = None
    key: Path | None = None
    insecure_writes: bool = False
    access_log: bool = False
    # Shorter only in tests.
    idle_seconds: float = 60.0
    patience_seconds: float = 30.0


def serve(options: Options, *, version: str, tell: Tell) -> None:
    """Serves until SIGTERM or SIGINT; SIGHUP reads tokens and certificate anew. Only in the main thread.

    Raises UsageError, StoreError, or ConfigErrors for a wrong token file.
    """
    asyncio.run(_serve(options, version=version, tell=tell))


async def _serve(options: Options, *, version: str, tell: Tell) -> None:
    host, port = parse_address(options.address)
    rights = _rights(options)
    _refuse_open_writes(options, host)
    tls = _tls(options)
    if options.token_file and tls is None and not is_loopback(host):
        tell(
            "warning", "tokens travel in clear text: give --certificate, or put a proxy with TLS in front", {}
        )
    storage = Storage(options.folder.absolute())
    try:
        policy = Policy(
            rights,
            read_only=options.read_only,
            max_bytes=options.max_bytes,
            patience_seconds=options.patience_seconds,
        )
        server = Server(storage, policy, version=version, tell=tell, access_log=options.access_log)
        await _Service(options, server, tls=tls, tell=tell).run(host, port)
    finally:
        storage.close()


class _Service:
    """A server with what it was started with."""

    def __init__(self, options: Options, server: Server, *, tls: ssl.SSLContext | None, tell: Tell) -> None:
        self._options = options
        self._server = server
        self._tls = tls
        self._tell = tell
        self._stop = asyncio.Event()

    async def run(self, host: str, port: int) -> None:
        """Listens until it is told to stop, then lets what was begun be done."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        protocol = web.Server(
            self._server,
            access_log=None,
            logger=_errors_told(self._tell),
            auto_decompress=False,
            keepalive_timeout=self._options.idle_seconds,
            lingering_time=_LINGERING_SECONDS,
            read_bufsize=_READ_BYTES,
        )
        # Nothing is left to wait for then but small answers being sent.
        runner = web.ServerRunner(protocol, shutdown_timeout=1)
        await runner.setup()
        evicting = asyncio.create_task(self._server.evictor.run())
        try:
            site = await self._listen(runner, host, port)
            await self._stop.wait()
            self._tell("stopping", "stopping: what was begun is finished first", {})
            await site.stop()
            await self._server.drain(_DRAIN_SECONDS)
        finally:
            evicting.cancel()
            await runner.cleanup()

    async def _listen(self, runner: web.ServerRunner, host: str, port: int) -> web.TCPSite:
        site = web.TCPSite(runner, host or None, port, ssl_context=self._tls)
        try:
            await site.start()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StoreError(
                f"cannot listen on `{self._options.address}`: {reason}",
                hint="give another address as --listen",
            ) from error
        scheme = "https" if self._tls else "http"
        for address in runner.addresses:
            shown = f"[{address[0]}]" if ":" in address[0] else address[0]
            url = f"{scheme}://{shown}:{address[1]}"
            self._tell("listening", f"listening on {url}", {"url": url, "folder": str(self._options.folder)})
        return site

    def _reload(self) -> None:
        try:
            self._server.policy = self._server.policy._replace(rights=_rights(self._options))
            if self._tls:
                _load(self._tls, self._options)
        except KitbuildError as error:
            self._tell("error", f"kept what was there: {error}", {})
        else:
            self._tell("reloaded", "read tokens and certificate anew", {})


class _Told(logging.Handler):
    """Tells what aiohttp complains of, in one line: a mistake of ours, or of a client."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        words = [record.getMessage()]
        if error is not None:
            words.append(f"{type(error).__name__}: {error}")
            frames = traceback.extract_tb(error.__traceback__)
            words += [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames[-3:]]
        self._tell("error", " ".join(", ".join(words).split()), {})


def _errors_told(tell: Tell) -> logging.Logger:
    logger = logging.Logger("kitbuild.cache.server", logging.WARNING)
    logger.addHandler(_Told(tell))
    return logger


def parse_address(text: str) -> tuple[str, int]:
    """Reads `HOST:PORT`, `[IPV6]:PORT` or `:PORT` (every address of the machine); raises UsageError."""
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or not port.isdecimal() or int(port) > _LAST_PORT or (":" in host and not bracketed):
        raise UsageError(
            f"expected an address such as 127.0.0.1:8080 or [::1]:8080, got `{text}`",
            hint="give HOST:PORT as --listen",
        )
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """True if only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _rights(options: Options) -> Rights:
    return read_rights(options.token_file) if options.token_file else OpenRights()


def _refuse_open_writes(options: Options, host: str) -> None:
    if options.token_file or options.read_only or options.insecure_writes or is_loopback(host):
        return
    raise UsageError(
        f"whoever reaches `{options.address}` could put results there that builds believe",
        hint="give --token-file or --read-only, or --insecure-writes if nobody else can reach it",
    )


def _tls(options: Options) -> ssl.SSLContext | None:
    if options.certificate is None:
        if options.key:
            raise UsageError("`--key` needs a certificate", hint="give it as --certificate")
        return None
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _load(tls, options)
    return tls


def _load(tls: ssl.SSLContext, options: Options) -> None:
    assert options.certificate
    try:
        tls.load_cert_chain(options.certificate, options.key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StoreError(
            f"the certificate {options.certificate} cannot be used: {reason}",
            hint="give PEM files, the key without a password, as --certificate and --key",
        ) from error


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise ValueError("its key has a password")
