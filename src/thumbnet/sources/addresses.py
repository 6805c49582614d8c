"""Which addresses and ports are public. No other module rejects a host."""

import ipaddress
import socket

# Public are all IPv4 addresses except the reserved blocks (iana.org/assignments/iana-ipv4-special-registry), and those
# in IPv6's 2000::/3, which is assigned to the internet's hosts, except the blocks of iana-ipv6-special-registry.
PUBLIC_PORTS = (80, 443)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: its last four bytes hold the actual IPv4 address
_SET_APART = [
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches this machine
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private
        "100.64.0.0/10",  # between a provider and its customers, and some clouds' own services
        "127.0.0.0/8",  # this machine
        "168.63.129.16/32",  # public, but Azure's own service on Azure's machines
        "169.254.0.0/16",  # link-local, including clouds' 169.254.169.254
        "192.0.0.0/24", "192.88.99.0/24",  # protocols, and relays to 6to4
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/4", "240.0.0.0/4",  # multicast, reserved and broadcast
        "2001::/23",  # protocols, including Teredo
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4, which leads to an IPv4 address
    )
]  # fmt: skip


class NotPublicError(socket.gaierror):
    """A host's address is not public. The message is that for an unknown host, so that it reveals no name."""


def is_public(address: str) -> bool:
    """Whether a numeric address belongs to a host of the public internet."""
    ip = ipaddress.ip_address(address)
    if ip in _NAT64:  # networks without IPv4 reach all of it this way
        ip = ipaddress.IPv4Address(ip.packed[-4:])
    return (ip.version == 4 or ip in _PUBLIC_IPV6) and not any(ip in block for block in _SET_APART)
