"""Where a webhook may call. Addresses are looked at before anything connects to them (API 9.8, RULINGS 24)."""

import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS = {"http": 80, "https": 443}
LONGEST_URL = 2000
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*\.?")
_TARGET = re.compile(r"[!-~]*")  # what may stand in a request line

# Where clouds tell machines their credentials. Link-local as a whole: no receiver lives there.
METADATA: tuple[Network, ...] = tuple(
    ip_network(one)
    for one in (
        "169.254.0.0/16",  # AWS, Azure, Google, Oracle, OpenStack, DigitalOcean, Scaleway; ECS and EKS credentials
        "fe80::/10",
        "fd00:ec2::/32",  # AWS
        "fd20:ce::/32",  # Google
        "fd00:42::42/128",  # Scaleway
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's wire server
        "192.0.0.192/32",  # Oracle's first generation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


class Refused(Exception):
    """No webhook may call there. The text says why, and never an address that a name leads to."""


class Target(NamedTuple):
    """A URL taken apart."""

    scheme: str
    host: str  # lower case; an IPv6 address without brackets
    port: int
    path: str  # with its query

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: Address) -> str:
        """The URL with an address for its host."""
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"{self.scheme}://{host}:{self.port}{self.path}"


class Allowed(NamedTuple):
    """What operators allow beside public addresses over https."""

    hosts: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """`receiver.lan, 10.0.0.0/8`. Raises ValueError that names the entry."""
        hosts, networks = set(), []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                networks.append(ip_network(entry))
            except ValueError as error:
                if "/" in entry or entry[0] == "*" or not _NAME.fullmatch(entry):
                    raise ValueError(f"{entry!r} is neither a host name nor a range like 10.0.0.0/8") from error
                hosts.add(entry)
        return cls(frozenset(hosts), tuple(networks))

    def holds(self, host: str, address: Address) -> bool:
        """Whether this host, or this address of it, is allowed."""
        return host in self.hosts or any(address in network for network in self.networks)


def parse(url: str) -> Target:
    """Raises ValueError that says what a URL must be."""
    if len(url) > LONGEST_URL or not _TARGET.fullmatch(url):
        raise ValueError(f"must be at most {LONGEST_URL} printable ASCII characters without spaces")
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in PORTS:
        raise ValueError("must begin with https:// (or http:// for a receiver that an operator allows)")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must have no user, password or fragment; deliveries are signed instead")
    if not (_is_address(host) or _NAME.fullmatch(host)):
        raise ValueError("must name a host")
    try:
        port = PORTS[scheme] if parts.port is None else parts.port
    except ValueError:
        port = 0
    if not port:
        raise ValueError("has a port that is none of 1 to 65535")
    return Target(scheme, host, port, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def resolve(target: Target) -> list[Address]:
    """The addresses of its host now, in the system's order. Raises Refused when there is none."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refused(f"the host {target.host} is not known") from error
    return list(dict.fromkeys(ip_address(place[4][0]) for place in found))


def check(target: Target, addresses: Sequence[Address], allowed: Allowed) -> None:
    """Raises Refused when one of the addresses may not be called: a host with a public and an inner one may not."""
    for address in map(_meant, addresses):
        if any(address in network for network in METADATA):
            raise Refused(f"{target.host} is link-local or a cloud's metadata address, which no webhook may call")
        if allowed.holds(target.host, address):
            continue
        if not _is_public(address):
            raise Refused(
                f"{target.host} is not a public address; an operator may allow the host or its range with "
                "CMAC_WEBHOOK_ALLOW"
            )
        if target.scheme != "https":
            raise Refused(f"http:// needs an operator to allow {target.host} with CMAC_WEBHOOK_ALLOW; use https://")


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    special = address.is_multicast or address.is_reserved or (address.version == 6 and address.is_site_local)
    return address.is_global and not special


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
