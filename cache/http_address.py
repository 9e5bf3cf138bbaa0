"""Where an HTTP remote cache is, what opens it, and through which proxy it is asked: all before a connection."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from kitbuild.cache.remote import Access
from kitbuild.errors import UsageError

_PORTS = {"http": 80, "https": 443}
# Spaces, control characters and quotes have no place in a URL; urllib would drop some of them silently.
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f\"<>\\^`{|}]")
# RFC 9110, 5.1 and 5.5: what a header's name consists of, and what its value may not hold.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Address(NamedTuple):
    """The parts of a URL: `path` without a slash at its end, user and password as they are meant."""

    scheme: str
    host: str
    port: int
    path: str = ""
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Address({self.scheme}://{self.place})"

    @property
    def place(self) -> str:
        """The host and its port, unless that is the usual one, as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def server(self) -> tuple[str, str, int]:
        """What tells servers apart."""
        return (self.scheme, self.host, self.port)


def address_of(url: str) -> Address:
    """The address a URL says; raises UsageError, which shows nothing of it, for it may hold a password."""
    from urllib.parse import quote, unquote, urlsplit

    if _UNFIT.search(url):
        raise _malformed("one with characters that have to be percent-encoded")
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        raise _malformed("one whose host or port cannot be read") from None
    if scheme not in _PORTS or not host:
        raise _malformed("one without a host")
    if parts.query or parts.fragment:
        raise _malformed("one with `?` or `#`")
    # A password with a slash in it ends up there; where it does, the host is a part of the user's name.
    if "@" in parts.path:
        raise _malformed("one with `@` behind the host")
    return Address(
        scheme,
        host,
        _PORTS[scheme] if port is None else port,
        quote(parts.path.rstrip("/"), safe="/%:!$&'()*+,;=~-._"),
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def _malformed(got: str) -> UsageError:
    return UsageError(
        f"expected a remote cache's URL such as `https://user:password@host:port/path`, got {got}",
        hint="write `%40` for `@`, `%2F` for `/`, `%3A` for `:` in a user's name or a password",
    )


def headers_of(address: Address, access: Access, login: tuple[str, str] | None) -> dict[str, str]:
    """The headers that open a remote cache; raises UsageError, without their values, if they cannot be sent.

    Of several secrets the one given for this remote cache most plainly is sent: a header, then the token, then the
    URL's user, then `login`, the user and password of ~/.netrc.
    """
    headers = dict(access.headers)
    if not any(name.lower() == "authorization" for name in headers):
        authorization = _authorization(address, access.token, login)
        headers |= {"Authorization": authorization} if authorization else {}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise UsageError("expected a header's name of letters, digits and `-`, got other characters")
        if not _HEADER_VALUE.fullmatch(value):
            raise UsageError(f"expected a value of one line for the header `{name}`, got other characters")
    return headers


def _authorization(address: Address, token: str, login: tuple[str, str] | None) -> str:
    if token:
        return f"Bearer {token}"
    if address.user or address.password:
        login = (address.user, address.password)
    if not login:
        return ""
    from base64 import b64encode

    return "Basic " + b64encode(":".join(login).encode()).decode()


def check_files(access: Access) -> None:
    """Raises UsageError for a certificate or key that cannot be opened; what it holds is seen when it is used."""
    for file in (*access.authorities, access.client_certificate, access.client_key):
        if file is not None:
            try:
                file.open("rb").close()
            except OSError as error:
                reason = (error.strerror or type(error).__name__).lower()
                raise UsageError(f"expected a PEM file at `{file}`, got an error: {reason}") from error


def netrc_login(host: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The user and password of $NETRC or ~/.netrc for a host; None too if the file cannot be read."""
    import netrc

    file = environment.get("NETRC", "")
    try:
        entry = netrc.netrc(file or str(Path("~/.netrc").expanduser())).authenticators(host)
    except (OSError, netrc.NetrcParseError, RuntimeError, UnicodeDecodeError):
        return None
    return (entry[0], entry[2] or "") if entry and any(entry) else None


def proxy_of(address: Address, environment: Mapping[str, str]) -> str:
    """The URL of the proxy to ask an address through, or empty.

    By `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in small letters or capitals. A proxy is never asked
    for this machine, which to it would be another one.
    """
    if is_loopback(address.host) or any(_covers(address, entry) for entry in _exempt(environment)):
        return ""
    names = (f"{address.scheme}_proxy", "all_proxy")
    found = (environment.get(name) or environment.get(name.upper()) for name in names)
    proxy = next((proxy for proxy in found if proxy), "")
    return proxy if "://" in proxy or not proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    """Whether a host's name, or address without brackets, is this machine."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _exempt(environment: Mapping[str, str]) -> Iterator[str]:
    text = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return (entry.lower() for entry in re.split(r"[,\s]+", text) if entry)


def _covers(address: Address, entry: str) -> bool:
    """Whether an entry of no_proxy means an address: a domain, an IP address or network, perhaps with a port."""
    import ipaddress

    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(address.host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        name, colon, port = entry.rpartition(":")
        if colon and port.isdecimal():
            return int(port) == address.port and _covers(address, name)
        domain = entry.removeprefix("*").lstrip(".")
        return address.host == domain or address.host.endswith(f".{domain}")
