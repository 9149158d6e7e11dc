"""Where a callback comes from: the connected peer, or what one's own proxies say.

``X-Forwarded-For`` can be written by anybody, so it is read from right to left, and only as far as it was written by
proxies that the settings name: the first address that is not one of them is the source. What cannot be read is nobody,
and nobody is in no allowlist.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Network", "Source", "Sources", "in_networks", "networks", "read_address", "source_of"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LONGEST = 64
_REMEMBERED = 1024
_LONGEST_REMEMBERED = 256
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([0-9.]+):\d{1,5}", re.ASCII)


@attrs.frozen
class Source:
    """Where a request comes from.

    Attributes:
        address: as text; None where that cannot be told.
        allowed: whether it is in the allowlist.
    """

    address: str | None
    allowed: bool


class Sources:
    """Tells where requests come from. Few addresses call, so what was found for one is remembered.

    Args:
        allowed: the allowlist, addresses and networks.
        trusted: one's own proxies.
    """

    def __init__(self, allowed: Iterable[str], trusted: Iterable[str]) -> None:
        self._allowed = networks(allowed)
        self._trusted = networks(trusted)
        self._remembered = lru_cache(_REMEMBERED)(self._found)

    def find(self, peer: str, forwarded: Sequence[str]) -> Source:
        """The source of a request; see :func:`source_of`."""
        # Strangers choose what they forward: it is remembered up to a size.
        if len(peer) + sum(map(len, forwarded)) > _LONGEST_REMEMBERED:
            return self._found(peer, *forwarded)
        return self._remembered(peer, *forwarded)

    def _found(self, peer: str, *forwarded: str) -> Source:
        address = source_of(peer, forwarded, self._trusted)
        return Source(None if address is None else str(address), in_networks(address, self._allowed))


def networks(entries: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks as the settings have them; one of IPv4-mapped IPv6 is the IPv4 one."""
    found: list[Network] = []
    for entry in entries:
        network = ipaddress.ip_network(entry, strict=False)
        if isinstance(network, IPv6Network) and network.prefixlen >= 96:
            mapped = network.network_address.ipv4_mapped
            if mapped is not None:
                network = IPv4Network((mapped, network.prefixlen - 96), strict=False)
        found.append(network)
    return tuple(found)


def in_networks(address: Address | None, allowed: Sequence[Network]) -> bool:
    """Whether the address is in one of the networks; None is in none."""
    return address is not None and any(address.version == network.version and address in network for network in allowed)


def read_address(text: str) -> Address | None:
    """An address, with or without a port (``1.2.3.4:5678``, ``[::1]:80``); IPv4-mapped IPv6 is the IPv4 one.

    None for anything else: a name, ``unknown``, an empty entry, an address with something beside it.
    """
    text = text.strip(" \t")
    if len(text) > _LONGEST:
        return None
    with_port = _WITH_PORT.fullmatch(text)
    if with_port:
        text = with_port[1] or with_port[2]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            if not address.is_link_local:
                return None
            address = IPv6Address(int(address))
        return address.ipv4_mapped or address
    return address


def source_of(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> Address | None:
    """The address that a request comes from, or None where that cannot be told.

    Args:
        peer: the address of whoever is connected.
        forwarded: the ``X-Forwarded-For`` header lines, in the order in which they came.
        trusted: one's own proxies, whose word is taken.

    The peer is believed unless it is a trusted proxy; then the entries are read from the right, and the first that is
    not a trusted proxy is the source, or the last one read where all of them are. An entry that is no address ends the
    reading
    with None: what stands left of it could have been written by anybody.
    """
    address = read_address(peer)
    if not in_networks(address, trusted):
        return address
    for line in reversed(forwarded):
        for entry in reversed(line.split(",")):
            address = read_address(entry)
            if not in_networks(address, trusted):
                return address
    return address
