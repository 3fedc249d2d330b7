"""How others reach this computer: its addresses, what stands in between, what a firewall is told.

Only interfaces, the environment and a few files are looked at; nothing is sent. The rules are in
`classify` and `surroundings_of`, which are given all they judge.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_UNKNOWN = (psutil.Error, OSError, RuntimeError, ValueError, LookupError, SystemError)

THIS_COMPUTER, NO_NETWORK, NETWORK = "this computer", "no network (self-assigned)", "network"
VPN, CONTAINER, VIRTUAL = "VPN", "container", "virtual machine network"
WIFI, ETHERNET = "Wi-Fi", "Ethernet"
NOTES = {
    THIS_COMPUTER: "only from this computer",
    NO_NETWORK: "the network gave no address",
    VPN: "only while the VPN is connected",
    CONTAINER: "not reachable from outside",
    VIRTUAL: "not reachable from outside",
}
UNREACHABLE = {THIS_COMPUTER, NO_NETWORK, CONTAINER, VIRTUAL}

# Names as Linux, macOS and Windows give them, in lower case; the first that fits is it.
_LEFT_OUT = re.compile(r"awdl|llw\d|anpi\d|teredo|isatap|6to4")  # Apple's own links, tunnels of IPv6
_LOOPBACK = re.compile(r"lo\d*(:|$)|loopback")
_KINDS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            CONTAINER,
            r"docker|br-[0-9a-f]{12}$|veth(?!ernet)|podman|cni|flannel|cali|cilium|lxc|lxdbr|incusbr|nerdctl"
            r"|weave|kube-|nodelocaldns|tunl\d|vxlan|antrea|ovn-k8s|hassio",
        ),
        (
            VIRTUAL,
            r"virbr|vnet\d|vmnet|vboxnet|vethernet|vmenet|bridge\d{3}$|vnic\d|mpqemubr"
            r"|.*(virtualbox|vmware|hyper-v|parallels)",
        ),
        (
            VPN,
            r"u?tun\d|tap\d|wg|ppp\d|ipsec\d|zt[0-9a-z]{8}|feth\d|wt\d|ham\d|gpd\d|cscotun|nord|proton|wintun"
            r"|.*(vpn|tailscale|wireguard|zerotier|nebula|netbird|mullvad|anyconnect|pangp|globalprotect"
            r"|fortinet|fortissl|tunsnx|cloudflare)",
        ),
        (WIFI, r"wl|wi-?fi|wireless|drahtlos|.*sans fil"),
        (
            ETHERNET,
            r"eth|en[copsx]|end\d|em\d|p\d+p\d|bond|team|vlan|br\d|br-lan|vmbr|lan-verbindung"
            r"|local area connection( \d+)?$",
        ),
    )
)

# Set by who runs the notebook; none of these lets another computer in.
_HOSTED = {
    "BINDER_SERVICE_HOST": "Binder",
    "BINDER_REPO_URL": "Binder",
    "BINDER_LAUNCH_HOST": "Binder",
    "COLAB_RELEASE_TAG": "Google Colab",
    "KAGGLE_KERNEL_RUN_TYPE": "Kaggle",
}
_CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
_ADMINISTRATORS = os.pathsep.join(("/usr/local/sbin", "/usr/sbin", "/sbin"))


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address of this computer, with what a person wants to know of it."""

    ip: str
    interface: str
    """The system's name of it: eth0, Wi-Fi, utun3; '' where it is not known."""
    kind: str
    reachable: bool
    """Whether another computer may get there, firewalls aside."""
    note: str


def addresses(host: str = "0.0.0.0") -> list[Address]:
    """Where a listener bound to `host` is reached: the network's side first, this computer itself last."""
    wanted = "127.0.0.1" if host == "localhost" else host.partition("%")[0] or "0.0.0.0"
    table = _interfaces()
    found = classify(
        table,
        wireless=_wireless(),
        towards=[_towards_network(family) for family in (socket.AF_INET, socket.AF_INET6)],
        inside=_inside(os.environ, _container_files(), _kernel()),
    )
    if wanted == "::":
        return found
    if wanted == "0.0.0.0":
        return [address for address in found if ":" not in address.ip]
    try:
        ip = ipaddress.ip_address(wanted)
    except ValueError:  # a computer's name: looking it up would ask the network
        return [Address(wanted, "", NETWORK, True, "")]
    if ip.is_loopback:
        return [Address(str(ip), "", THIS_COMPUTER, False, NOTES[THIS_COMPUTER])]
    here = [address for address in found if address.ip == str(ip)]
    return here or [Address(str(ip), "", NETWORK, False, "not an address of this computer now")]


def address_of_this_computer() -> str:
    """The IPv4 address others reach it at: that of the interface towards the network. Nothing is sent."""
    # Without a gateway, as in many networks of scanners, there is no way to any far address.
    reachable = (address.ip for address in addresses() if address.reachable)
    return _towards_network(socket.AF_INET) or next(reachable, "127.0.0.1")


def classify(
    table: Mapping[str, Sequence[str]],
    *,
    wireless: Collection[str] = (),
    towards: Collection[str] = (),
    inside: str = "",
) -> list[Address]:
    """Addresses of a table of interfaces {name: IP addresses}, sorted for people.

    `wireless` are interfaces known to be, `towards` the addresses towards the network, `inside` is
    "container", "WSL" or "".
    """
    # A container that sees the bridges of others shares the network of its host.
    if inside == CONTAINER and any(_kind_of_name(name, ()) in (CONTAINER, VIRTUAL) for name in table):
        inside = ""
    found: dict[str, Address] = {}
    for name, ips in table.items():
        if _LEFT_OUT.match(name.lower()):
            continue
        for text in ips:
            try:
                ip = ipaddress.ip_address(text.partition("%")[0])
            except ValueError:
                continue
            if ip.is_unspecified or ip.is_multicast or (ip.version == 6 and ip.is_link_local):
                continue
            judged = _judge(ip, name, wireless, str(ip) in towards, inside)
            found.setdefault(judged.ip, judged)

    def rank(address: Address) -> int:
        if address.kind == THIS_COMPUTER:
            return 3
        return 0 if address.ip in towards else 1 if address.reachable else 2

    return sorted(found.values(), key=rank)


def _judge(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
    name: str,
    wireless: Collection[str],
    towards: bool,
    inside: str,
) -> Address:
    if ip.is_loopback:
        kind = THIS_COMPUTER
    elif ip.is_link_local:
        kind = NO_NETWORK
    elif inside == CONTAINER and re.match(r"(eth|tap)\d", name):
        note = "from outside only where the container's port is published"
        return Address(str(ip), name, CONTAINER, False, note)
    elif inside == "WSL" and name.startswith("eth") and ip in ipaddress.ip_network("172.16.0.0/12"):
        # Its own small network; in mirrored mode it has the addresses of Windows instead.
        return Address(str(ip), name, VIRTUAL, False, "only from this Windows computer")
    else:
        kind = _kind_of_name(name, wireless)
        if towards and kind in (CONTAINER, VIRTUAL):
            kind = NETWORK  # as an external switch of Hyper-V, which carries the computer's own address
    return Address(str(ip), name, kind, kind not in UNREACHABLE, NOTES.get(kind, ""))


def _kind_of_name(name: str, wireless: Collection[str]) -> str:
    if name in wireless:
        return WIFI
    lowered = name.lower()
    if _LOOPBACK.match(lowered):
        return THIS_COMPUTER
    return next((kind for kind, pattern in _KINDS if pattern.match(lowered)), NETWORK)


def _interfaces() -> dict[str, list[str]]:
    """IP addresses of the interfaces that are up, by name; the least known where the system does not tell."""
    try:
        all_of_them = psutil.net_if_addrs()
    except _UNKNOWN:
        all_of_them = {}
    try:
        up = {name: facts.isup for name, facts in psutil.net_if_stats().items()}
    except _UNKNOWN:
        up = {}
    table = {
        name: [entry.address for entry in entries if entry.family in (socket.AF_INET, socket.AF_INET6)]
        for name, entries in all_of_them.items()
        if up.get(name, True)
    }
    if any(table.values()):
        return table
    first = _towards_network(socket.AF_INET)
    return {"": [*([first] if first else []), "127.0.0.1"]}


def _towards_network(family: socket.AddressFamily) -> str:
    """The address a packet to far away would leave from; '' where there is no way."""
    # Documentation addresses: connecting a UDP socket only looks up a route.
    far = "192.0.2.1" if family == socket.AF_INET else "2001:db8::1"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            found: str = probe.getsockname()[0].partition("%")[0]
    except OSError:
        return ""
    return "" if ipaddress.ip_address(found).is_unspecified else found


def _wireless() -> set[str]:
    """Linux names them here; elsewhere the folder is not there."""
    try:
        return {path.parent.name for path in Path("/sys/class/net").glob("*/wireless")}
    except OSError:
        return set()


def _container_files() -> set[str]:
    return {name for name in _CONTAINER_FILES if os.path.exists(name)}


def _kernel() -> str:
    try:
        return Path("/proc/sys/kernel/osrelease").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _inside(environment: Mapping[str, str], files: Collection[str], kernel: str) -> str:
    """What this runs in: "container", "WSL" or ""."""
    said = environment.get("container", "").lower()  # systemd's word, which podman and LXC use as well
    if files or environment.get("KUBERNETES_SERVICE_HOST") or said not in ("", "flatpak", "wsl"):
        return CONTAINER
    return "WSL" if "microsoft" in kernel.lower() else ""


def surroundings() -> str:
    """Why the addresses may not be reachable, in one sentence; '' on an ordinary computer."""
    return surroundings_of(os.environ, _container_files(), _kernel())


def surroundings_of(environment: Mapping[str, str], files: Collection[str], kernel: str) -> str:
    """`surroundings` of an environment, the marks of containers that exist, and the kernel's release."""
    inside = _inside(environment, files, kernel)
    hosted = next((name for key, name in _HOSTED.items() if environment.get(key)), "")
    if hosted:
        return f"This runs on {hosted}: other computers cannot reach it; send from this notebook itself."
    if environment.get("JUPYTERHUB_SERVICE_PREFIX"):
        if inside == CONTAINER:
            return (
                "This runs on JupyterHub in a container: computers outside reach it only where the hub's "
                "administrator publishes the port."
            )
        return (
            "This runs on a JupyterHub server: other computers send to the server's address, "
            "not to that of the computer with your browser."
        )
    if inside == CONTAINER:
        return (
            "This runs in a container: other computers reach it only where its port is published "
            "(or it shares its host's network), at the host's address."
        )
    if inside == "WSL":
        return (
            "This runs in the Windows Subsystem for Linux: other computers reach it only where Windows "
            "forwards the port, or with networkingMode=mirrored in .wslconfig."
        )
    return ""


def firewall_command(port: int, *, system: str | None = None, tools: Collection[str] | None = None) -> str:
    """The command that lets this TCP port through, for an administrator to type; '' where none is known.

    `system` as in `sys.platform`; `tools` are the programs installed, of ufw, firewall-cmd, iptables, nft.
    With the last two the rule lasts until the next restart.
    """
    system = (sys.platform if system is None else system).lower()
    if system.startswith("win"):
        return (
            f"netsh advfirewall firewall add rule name=pacskit-{port} dir=in action=allow "
            f"protocol=TCP localport={port}"
        )
    if system == "darwin":  # it knows programs, not ports
        program = "sudo /usr/libexec/ApplicationFirewall/socketfilterfw"
        python = shlex.quote(_executable())
        return f"{program} --add {python} && {program} --unblockapp {python}"
    if not system.startswith("linux"):
        return ""
    commands = {
        "ufw": f"sudo ufw allow {port}/tcp",
        "firewall-cmd": (
            f"sudo firewall-cmd --permanent --add-port={port}/tcp && sudo firewall-cmd --reload"
        ),
        "iptables": f"sudo iptables -I INPUT -p tcp --dport {port} -j ACCEPT",
        # Put in front: what stands behind a rule that rejects is never reached.
        "nft": f"sudo nft insert rule inet filter input tcp dport {port} accept",
    }
    if tools is None:
        places = os.pathsep.join((os.environ.get("PATH", ""), _ADMINISTRATORS))
        tools = [name for name in commands if shutil.which(name, path=places)]
    return next((command for name, command in commands.items() if name in tools), "")


def _executable() -> str:
    """The program that listens: not always `sys.executable`, which macOS's Python starts another from."""
    try:
        return psutil.Process().exe() or os.path.realpath(sys.executable)
    except _UNKNOWN:
        return os.path.realpath(sys.executable)
