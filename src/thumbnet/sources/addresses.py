"""The only place that refuses a host: which addresses and ports of the internet are public."""

import ipaddress
import socket

# What is public: IPv4 but the blocks that are set apart (iana.org/assignments/iana-ipv4-special-registry), of IPv6
# the part that is given to the internet's hosts, 2000::/3, but those of iana-ipv6-special-registry.
PUBLIC_PORTS = (80, 443)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: in its last four bytes is the IPv4 address that is meant
_SET_APART = [
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches this machine
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private
        "100.64.0.0/10",  # between a provider and its customers, and some clouds' own services
        "127.0.0.0/8",  # this machine
        "168.63.129.16/32",  # is public, but on Azure's machines it is Azure's own service
        "169.254.0.0/16",  # link-local, clouds' 169.254.169.254 too
        "192.0.0.0/24", "192.88.99.0/24",  # protocols, and relays to 6to4
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/4", "240.0.0.0/4",  # multicast, reserved and broadcast
        "2001::/23",  # protocols, Teredo too
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4, which leads to an IPv4 address
    )
]  # fmt: skip


class NotPublicError(socket.gaierror):
    """A host has an address that is not public. Told as if there were no such host: its name is nobody's business."""


def is_public(address: str) -> bool:
    """Whether a numeric address is one of the public internet's hosts."""
    ip = ipaddress.ip_address(address)
    if ip in _NAT64:  # where there is no IPv4, all of it is reached by this
        ip = ipaddress.IPv4Address(ip.packed[-4:])
    return (ip.version == 4 or ip in _PUBLIC_IPV6) and not any(ip in block for block in _SET_APART)
