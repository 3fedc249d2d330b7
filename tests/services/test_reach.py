"""How this computer is reached: interface tables of many systems, surroundings, firewalls; and this one."""

from __future__ import annotations

import ipaddress
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence

import psutil
import pytest

from pacskit.services.reach import (
    Address,
    address_of_this_computer,
    addresses,
    classify,
    firewall_command,
    surroundings,
    surroundings_of,
)

LOOPBACK = {"lo": ["127.0.0.1", "::1"]}
OUTSIDE = "not reachable from outside"
PUBLISHED = "from outside only where the container's port is published"
CONNECTED = "only while the VPN is connected"
HERE = "only from this computer"


def rows(found: Sequence[Address]) -> list[tuple[str, str, bool, str]]:
    return [(address.ip, address.kind, address.reachable, address.note) for address in found]


TABLES: dict[
    str, tuple[Mapping[str, Sequence[str]], dict[str, Collection[str]], list[tuple[str, str, bool, str]]]
] = {
    "a Linux laptop with Docker, libvirt, Tailscale and WireGuard": (
        {
            **LOOPBACK,
            "docker0": ["172.17.0.1", "fe80::42:1%docker0"],
            "br-0123456789ab": ["172.18.0.1"],
            "veth12ab34c": ["fe80::1%veth12ab34c"],
            "virbr0": ["192.168.122.1"],
            "tailscale0": ["100.101.102.103", "fd7a:115c:a1e0::1"],
            "wg0": ["10.8.0.2"],
            "enp0s31f6": ["10.20.30.40"],
            "wlp3s0": ["192.168.1.20", "2001:db8:1::20", "fe80::20%wlp3s0"],
        },
        {"wireless": {"wlp3s0"}, "towards": ["192.168.1.20", "2001:db8:1::20"]},
        [
            ("192.168.1.20", "Wi-Fi", True, ""),
            ("2001:db8:1::20", "Wi-Fi", True, ""),
            ("100.101.102.103", "VPN", True, CONNECTED),
            ("fd7a:115c:a1e0::1", "VPN", True, CONNECTED),
            ("10.8.0.2", "VPN", True, CONNECTED),
            ("10.20.30.40", "Ethernet", True, ""),
            ("172.17.0.1", "container", False, OUTSIDE),
            ("172.18.0.1", "container", False, OUTSIDE),
            ("192.168.122.1", "virtual machine network", False, OUTSIDE),
            ("127.0.0.1", "this computer", False, HERE),
            ("::1", "this computer", False, HERE),
        ],
    ),
    "a MacBook": (
        {
            "lo0": ["127.0.0.1", "::1", "fe80::1%lo0"],
            "awdl0": ["fe80::2%awdl0", "169.254.9.9"],
            "llw0": ["fe80::2%llw0"],
            "bridge100": ["192.168.64.1"],
            "bridge0": ["192.168.2.1"],
            "utun4": ["10.6.0.9"],
            "utun0": ["fe80::3%utun0"],
            "en0": ["192.168.1.21", "fe80::4%en0"],
            "en5": ["169.254.10.11"],
        },
        {"towards": ["192.168.1.21"]},
        [
            ("192.168.1.21", "network", True, ""),
            ("192.168.2.1", "network", True, ""),
            ("10.6.0.9", "VPN", True, CONNECTED),
            ("192.168.64.1", "virtual machine network", False, OUTSIDE),
            ("169.254.10.11", "no network (self-assigned)", False, "the network gave no address"),
            ("127.0.0.1", "this computer", False, HERE),
            ("::1", "this computer", False, HERE),
        ],
    ),
    "Windows with WSL, VirtualBox, VMware and OpenVPN": (
        {
            "Loopback Pseudo-Interface 1": ["127.0.0.1", "::1"],
            "vEthernet (WSL)": ["172.29.0.1"],
            "vEthernet (Default Switch)": ["172.30.0.1"],
            "VirtualBox Host-Only Network": ["192.168.56.1"],
            "VMware Network Adapter VMnet8": ["192.168.10.1"],
            "OpenVPN TAP-Windows6": ["10.8.0.6"],
            "Teredo Tunneling Pseudo-Interface": ["2001:0:abcd::1"],
            "Local Area Connection": ["10.0.0.8"],
            "Local Area Connection* 10": ["192.168.137.1"],
            "Ethernet 2": ["10.0.0.7"],
            "Wi-Fi": ["192.168.1.22", "fe80::5"],
        },
        {"towards": ["10.0.0.7"]},
        [
            ("10.0.0.7", "Ethernet", True, ""),
            ("10.8.0.6", "VPN", True, CONNECTED),
            ("10.0.0.8", "Ethernet", True, ""),
            ("192.168.137.1", "network", True, ""),
            ("192.168.1.22", "Wi-Fi", True, ""),
            ("172.29.0.1", "virtual machine network", False, OUTSIDE),
            ("172.30.0.1", "virtual machine network", False, OUTSIDE),
            ("192.168.56.1", "virtual machine network", False, OUTSIDE),
            ("192.168.10.1", "virtual machine network", False, OUTSIDE),
            ("127.0.0.1", "this computer", False, HERE),
            ("::1", "this computer", False, HERE),
        ],
    ),
    "Windows whose cable belongs to an external switch of Hyper-V": (
        {"vEthernet (LAN)": ["10.0.0.9"], "Loopback Pseudo-Interface 1": ["127.0.0.1"]},
        {"towards": ["10.0.0.9"]},
        [("10.0.0.9", "network", True, ""), ("127.0.0.1", "this computer", False, HERE)],
    ),
    "WSL behind the translation of Windows": (
        {"lo": ["127.0.0.1", "10.255.255.254"], "eth0": ["172.29.5.6", "fe80::6%eth0"]},
        {"towards": ["172.29.5.6"], "inside": "WSL"},
        [
            ("172.29.5.6", "virtual machine network", False, "only from this Windows computer"),
            ("127.0.0.1", "this computer", False, HERE),
            ("10.255.255.254", "this computer", False, HERE),
        ],
    ),
    "WSL with the addresses of Windows": (
        {"lo": ["127.0.0.1"], "eth0": ["192.168.1.23"]},
        {"towards": ["192.168.1.23"], "inside": "WSL"},
        [("192.168.1.23", "Ethernet", True, ""), ("127.0.0.1", "this computer", False, HERE)],
    ),
    "a Docker container": (
        {"lo": ["127.0.0.1"], "eth0": ["172.17.0.2"], "eth1": ["172.19.0.2"]},
        {"towards": ["172.17.0.2"], "inside": "container"},
        [
            ("172.17.0.2", "container", False, PUBLISHED),
            ("172.19.0.2", "container", False, PUBLISHED),
            ("127.0.0.1", "this computer", False, HERE),
        ],
    ),
    "a pod of Kubernetes, as JupyterHub starts": (
        {"lo": ["127.0.0.1", "::1"], "eth0": ["10.244.1.5", "fd00:10:244::5"]},
        {"towards": ["10.244.1.5"], "inside": "container"},
        [
            ("10.244.1.5", "container", False, PUBLISHED),
            ("fd00:10:244::5", "container", False, PUBLISHED),
            ("127.0.0.1", "this computer", False, HERE),
            ("::1", "this computer", False, HERE),
        ],
    ),
    "a container of Podman without root": (
        {"lo": ["127.0.0.1"], "tap0": ["10.0.2.100"]},
        {"towards": ["10.0.2.100"], "inside": "container"},
        [("10.0.2.100", "container", False, PUBLISHED), ("127.0.0.1", "this computer", False, HERE)],
    ),
    "a container that shares its host's network": (
        {"lo": ["127.0.0.1"], "docker0": ["172.17.0.1"], "eth0": ["10.0.0.10"]},
        {"towards": ["10.0.0.10"], "inside": "container"},
        [
            ("10.0.0.10", "Ethernet", True, ""),
            ("172.17.0.1", "container", False, OUTSIDE),
            ("127.0.0.1", "this computer", False, HERE),
        ],
    ),
    "a scanner's network without a gateway": (
        {"lo": ["127.0.0.1"], "docker0": ["172.17.0.1"], "eno1": ["10.1.1.2"]},
        {},
        [
            ("10.1.1.2", "Ethernet", True, ""),
            ("172.17.0.1", "container", False, OUTSIDE),
            ("127.0.0.1", "this computer", False, HERE),
        ],
    ),
    "everything goes through the VPN": (
        {"lo": ["127.0.0.1"], "eth0": ["10.0.0.11"], "tun0": ["10.9.0.2"]},
        {"towards": ["10.9.0.2"]},
        [
            ("10.9.0.2", "VPN", True, CONNECTED),
            ("10.0.0.11", "Ethernet", True, ""),
            ("127.0.0.1", "this computer", False, HERE),
        ],
    ),
    "what is no address, or none to tell": (
        {"eth0": ["", "00:11:22:33:44:55", "0.0.0.0", "::", "224.0.0.1", "fe80::7", "10.0.0.1", "10.0.0.1"]},
        {},
        [("10.0.0.1", "Ethernet", True, "")],
    ),
    "nothing": ({}, {}, []),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_interfaces(case: str) -> None:
    table, facts, expected = TABLES[case]
    assert rows(classify(table, **facts)) == expected  # type: ignore[arg-type]


NAMES = {
    "container": "docker0 docker_gwbridge br-0123456789ab veth0 vethab12 podman0 podman1 cni0 cni-podman0 flannel.1 "
    "cali0123 cilium_host lxcbr0 lxdbr0 incusbr0 weave kube-bridge kube-ipvs0 nodelocaldns tunl0 vxlan.calico",
    "virtual machine network": "virbr0 vnet0 vmnet1 vmnet8 vboxnet0 bridge100 vmenet0 vnic0 mpqemubr0",
    "VPN": "tun0 tap0 utun4 wg0 wg0-mullvad ppp0 ipsec0 tailscale0 Tailscale ztabcdef12 feth1234 wt0 nordlynx proton0 "
    "cscotun0 gpd0 vpn_work ProtonVPN",
    "Wi-Fi": "wlan0 wlp2s0 wlx001122334455 Wi-Fi WiFi WLAN",
    "Ethernet": "eth0 eth0.100 eth0:1 eno1 ens33 enp0s3 enP1p1s0 enx001122334455 end0 em1 p1p1 bond0 team0 br0 br-lan "
    "vmbr0 Ethernet LAN-Verbindung",
    "network": "en0 en12 bridge0 ap1 wwan0 usb0 host0 Mobile 以太网",
    "this computer": "lo lo0 lo:0 Loopback loopback0",
}
SPACED = {
    "vEthernet (WSL (Hyper-V firewall))": "virtual machine network",
    "VMware Network Adapter VMnet1": "virtual machine network",
    "Wi-Fi 2": "Wi-Fi",
    "Wireless Network Connection": "Wi-Fi",
    "Connexion réseau sans fil": "Wi-Fi",
    "Ethernet 3": "Ethernet",
    "Local Area Connection 2": "Ethernet",
    "Local Area Connection* 2": "network",
    "Bluetooth Network Connection": "network",
    "OpenVPN Wintun": "VPN",
    "WireGuard Tunnel": "VPN",
    "ZeroTier One [0123456789abcdef]": "VPN",
    "Cisco AnyConnect": "VPN",
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, kind) for kind, names in NAMES.items() for name in names.split()), *SPACED.items()],
)
def test_names_of_interfaces(name: str, kind: str) -> None:
    (found,) = classify({name: ["10.0.0.1"]})
    assert (found.interface, found.kind) == (name, kind)


def test_what_linux_says_is_wireless_is() -> None:
    (found,) = classify({"eth1": ["10.0.0.1"]}, wireless={"eth1"})
    assert found.kind == "Wi-Fi"


# This computer


def test_all_addresses_of_this_computer() -> None:
    found = addresses()
    system = {
        entry.address
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family == socket.AF_INET
    }
    assert {address.ip for address in found} <= system
    assert found[-1].kind == "this computer"
    assert found[-1].ip.startswith("127.")
    for address in found:
        with socket.socket() as sock:
            sock.bind((address.ip, 0))
    both = addresses("::")
    assert [address for address in both if ":" not in address.ip] == found
    assert not [address for address in both if "%" in address.ip or address.ip.startswith("fe80")]


def test_the_address_towards_the_network_is_first() -> None:
    first = address_of_this_computer()
    assert ipaddress.IPv4Address(first)
    assert addresses()[0].ip == first


@pytest.mark.parametrize(
    ("host", "ip"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.8.9.1", "127.8.9.1"),
        ("localhost", "127.0.0.1"),
        ("::1", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
    ],
)
def test_bound_to_this_computer_only(host: str, ip: str) -> None:
    assert rows(addresses(host)) == [(ip, "this computer", False, HERE)]


def test_bound_to_one_address() -> None:
    for address in addresses("::"):
        (found,) = addresses(address.ip)
        assert (found.ip, found.kind, found.reachable) == (address.ip, address.kind, address.reachable)


def test_bound_to_what_is_not_here() -> None:
    assert rows(addresses("203.0.113.7")) == [
        ("203.0.113.7", "network", False, "not an address of this computer now")
    ]
    assert rows(addresses("pacs.example")) == [("pacs.example", "network", True, "")]


def refuse(*_: object) -> None:
    raise psutil.AccessDenied


def lack(*_: object) -> None:
    raise NotImplementedError


@pytest.mark.parametrize("no", [refuse, lack])
def test_where_the_system_tells_little(monkeypatch: pytest.MonkeyPatch, no: Callable[..., None]) -> None:
    monkeypatch.setattr(psutil, "net_if_stats", no)
    assert addresses()[0].ip == address_of_this_computer()
    monkeypatch.setattr(psutil, "net_if_addrs", no)
    assert [address.ip for address in addresses()] == list(
        dict.fromkeys([address_of_this_computer(), "127.0.0.1"])
    )
    monkeypatch.setattr(psutil.Process, "exe", no)
    assert "socketfilterfw" in firewall_command(11112, system="darwin")


# Surroundings

K8S = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
HUB = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}
WSL = "5.15.153.1-microsoft-standard-WSL2"
PLAIN = "6.8.0-45-generic"


@pytest.mark.parametrize(
    ("environment", "files", "kernel", "beginning"),
    [
        ({}, (), PLAIN, ""),
        ({}, (), "", ""),
        ({"container": "flatpak"}, (), PLAIN, ""),
        ({"JUPYTERHUB_SERVICE_PREFIX": ""}, (), PLAIN, ""),
        ({}, ("/.dockerenv",), PLAIN, "This runs in a container: "),
        ({}, ("/run/.containerenv",), PLAIN, "This runs in a container: "),
        ({"container": "podman"}, (), PLAIN, "This runs in a container: "),
        (K8S, (), PLAIN, "This runs in a container: "),
        ({}, ("/.dockerenv",), WSL, "This runs in a container: "),
        (HUB | K8S, (), PLAIN, "This runs on JupyterHub in a container: "),
        (HUB, (), PLAIN, "This runs on a JupyterHub server: "),
        (HUB | K8S | {"BINDER_SERVICE_HOST": "10.0.0.1"}, (), PLAIN, "This runs on Binder: "),
        (HUB | K8S | {"BINDER_REPO_URL": "https://x.example"}, (), PLAIN, "This runs on Binder: "),
        ({"COLAB_RELEASE_TAG": "r1"}, ("/.dockerenv",), PLAIN, "This runs on Google Colab: "),
        ({}, (), WSL, "This runs in the Windows Subsystem for Linux: "),
        ({}, (), "4.4.0-19041-Microsoft", "This runs in the Windows Subsystem for Linux: "),
        ({"container": "wsl"}, (), WSL, "This runs in the Windows Subsystem for Linux: "),
    ],
)
def test_surroundings(
    environment: Mapping[str, str], files: Collection[str], kernel: str, beginning: str
) -> None:
    sentence = surroundings_of(environment, files, kernel)
    assert sentence.startswith(beginning)
    assert bool(sentence) is bool(beginning)
    assert sentence.count(". ") == 0
    assert not sentence or sentence.endswith(".")


def test_surroundings_of_this_process() -> None:
    """A second process, so that its environment is really another."""
    code = "from pacskit.services.reach import surroundings; print(surroundings())"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "BINDER_SERVICE_HOST": "10.0.0.1", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert said.stdout.startswith("This runs on Binder: ")
    assert isinstance(surroundings(), str)


# Firewalls


@pytest.mark.parametrize(
    ("system", "tools", "command"),
    [
        ("linux", ["iptables", "ufw"], "sudo ufw allow 11112/tcp"),
        (
            "linux",
            ["nft", "iptables", "firewall-cmd"],
            "sudo firewall-cmd --permanent --add-port=11112/tcp && sudo firewall-cmd --reload",
        ),
        ("Linux", ["nft", "iptables"], "sudo iptables -I INPUT -p tcp --dport 11112 -j ACCEPT"),
        ("linux", ["nft"], "sudo nft insert rule inet filter input tcp dport 11112 accept"),
        ("linux", [], ""),
        (
            "win32",
            None,
            "netsh advfirewall firewall add rule name=pacskit-11112 dir=in action=allow protocol=TCP localport=11112",
        ),
        ("freebsd14", None, ""),
    ],
)
def test_firewalls(system: str, tools: Collection[str] | None, command: str) -> None:
    assert firewall_command(11112, system=system, tools=tools) == command
    if system == "win32":
        assert firewall_command(11112, system="Windows") == command


@pytest.mark.parametrize("system", ["darwin", "Darwin"])
def test_the_firewall_of_macos_is_told_this_program(system: str) -> None:
    add, unblock = firewall_command(11112, system=system).split(" && ")
    program = "/usr/libexec/ApplicationFirewall/socketfilterfw"
    assert shlex.split(add) == ["sudo", program, "--add", psutil.Process().exe()]
    assert shlex.split(unblock) == ["sudo", program, "--unblockapp", psutil.Process().exe()]


def test_the_firewall_of_this_computer() -> None:
    command = firewall_command(11112)
    assert command == "" or "11112" in command or "socketfilterfw" in command
