"""Mail servers to measure beside Veredus: each with a configuration of its own in a folder, as processes of ours.

None of them touches what the system has configured, or stays. What isn't installed is named by `missing`. Ways of
setting up: postfix(1) `start-fg`, opendkim(8) `-f`, rspamd(8) `-f`, Haraka `-c`.
"""

from __future__ import annotations

__all__ = ("Peer", "Site", "free_port", "peers")

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

START_S = 60.0
END_S = 30.0
ROOT = Path(__file__).resolve().parents[1]


class Site(msgspec.Struct, frozen=True):
    """What all of them are told: where mail goes, what it is signed with."""

    sink_port: int
    domain: str
    selector: str
    key_file: str


class Peer:
    """One mail server as processes of ours. Use it as a context.

    Args:
        name: of its result.
        programs: that must be installed.
        set_up: writes configuration into a folder; tells the commands, and the ports that must be open: the last takes
            mail.
    """

    def __init__(
        self,
        name: str,
        programs: tuple[str, ...],
        set_up: Callable[[Path, Site], tuple[list[list[str]], list[int]]],
        *,
        pipelining: bool = True,
    ) -> None:
        self.name = name
        self.pipelining = (
            pipelining  # whether it takes an envelope behind the end of the last content
        )
        self.port = 0
        self._programs = programs
        self._set_up = set_up
        self._running: list[subprocess.Popen[bytes]] = []
        self._folder = Path()

    @property
    def missing(self) -> str:
        """What isn't installed; "" when all is."""
        wanted = [name for name in self._programs if _where(name) is None]
        return ", ".join(wanted)

    def start(self, folder: Path, site: Site) -> Self:
        """Start it and wait until it takes connections. Raises: RuntimeError with the end of its log."""
        self._folder = folder
        commands, ports = self._set_up(folder, site)
        self.port = ports[-1]
        for number, command in enumerate(commands):
            with (folder / f"log-{number}").open("wb") as log:
                self._running.append(
                    subprocess.Popen(
                        command, cwd=folder, stdout=log, stderr=log, start_new_session=True
                    )
                )
        deadline = time.monotonic() + START_S
        while not (all(map(_taken, ports[:-1])) and _open(self.port)):
            dead = [one for one in self._running if one.poll() is not None]
            if dead or time.monotonic() > deadline:
                told = "".join(
                    file.read_text("utf-8", "replace")[-1500:] for file in folder.glob("log-*")
                )
                self.stop()
                raise RuntimeError(f"{self.name} doesn't take mail: {told}")
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """End all its processes, each with the group that it began."""
        etc = self._folder / "etc"
        if self._running and etc.exists():  # Postfix's master has left the group
            command = [_program("postfix"), "-c", str(etc), "stop"]
            subprocess.run(command, capture_output=True, check=False, timeout=END_S)
        for process in reversed(self._running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(END_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        self._running = []


def free_port() -> int:
    """Find a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _taken(port: int) -> bool:
    """Whether somebody listens there: a milter doesn't greet."""
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
    except OSError:
        return False
    return True


def _open(port: int) -> bool:
    """Whether somebody greets there: with a milter that is still starting, Postfix says 421."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.settimeout(5)
            return connection.recv(3) == b"220"
    except OSError:
        return False


def _where(program: str) -> str | None:
    """Find a program; daemons aren't on everybody's path."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))
    return shutil.which(program, path=path)


def _program(name: str) -> str:
    found = _where(name)
    assert found is not None, "asked before"
    return found


# ---- Postfix

_MASTER = """\
127.0.0.1:{port} inet n - n - 60 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - 40 smtp
relay unix - - n - 40 smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def _postfix(folder: Path, site: Site, milter_port: int) -> tuple[list[str], int]:
    """Postfix for speed: all mail to one host, many processes, connections kept; nothing about its safety changed."""
    port = free_port()
    etc, queue, data = folder / "etc", folder / "queue", folder / "data"
    for one in (etc, queue, data):
        one.mkdir()
    for one in (folder, *folder.parents):
        if str(one).startswith("/tmp/") and one != Path("/tmp"):
            one.chmod(0o755)
    shutil.chown(data, "postfix")
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": queue,
        "data_directory": data,
        "myhostname": "peer.example",
        "mydestination": "",
        "mynetworks": "127.0.0.0/8",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "maillog_file": folder / "maillog",
        "maillog_file_prefixes": folder,
        "alias_maps": "",
        "alias_database": "",
        "local_recipient_maps": "",
        "smtpd_relay_restrictions": "permit_mynetworks, reject",
        "smtpd_recipient_restrictions": "permit_mynetworks, reject",
        "smtpd_client_connection_count_limit": "0",
        "smtpd_client_connection_rate_limit": "0",
        "smtpd_peername_lookup": "no",
        "smtpd_tls_security_level": "none",
        "smtp_tls_security_level": "none",
        "smtp_dns_support_level": "disabled",
        "smtp_host_lookup": "native",
        "relayhost": f"[127.0.0.1]:{site.sink_port}",
        "in_flow_delay": "0",
        "default_process_limit": "200",
        "qmgr_message_active_limit": "50000",
        "qmgr_message_recipient_limit": "50000",
        "initial_destination_concurrency": "20",
        "default_destination_concurrency_limit": "50",
        "smtp_destination_concurrency_limit": "40",
        "smtp_connection_cache_on_demand": "yes",
        "smtp_connection_reuse_time_limit": "300s",
        "smtpd_milters": f"inet:127.0.0.1:{milter_port}",
        "milter_default_action": "tempfail",
        "milter_protocol": "6",
    }
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (etc / "main.cf").write_text(text)
    (etc / "master.cf").write_text(_MASTER.format(port=port))
    return [_program("postfix"), "-c", str(etc), "start-fg"], port


def _postfix_opendkim(folder: Path, site: Site) -> tuple[list[list[str]], list[int]]:
    milter = free_port()
    settings = {
        "Syslog": "no",
        "Mode": "s",
        "Canonicalization": "relaxed/relaxed",
        "SignatureAlgorithm": "rsa-sha256",
        "Domain": site.domain,
        "Selector": site.selector,
        "KeyFile": site.key_file,
        "RequireSafeKeys": "no",
        "Socket": f"inet:{milter}@127.0.0.1",
        "PidFile": str(folder / "opendkim.pid"),
        "InternalHosts": "127.0.0.0/8",
        "OversignHeaders": "From",
    }
    file = folder / "opendkim.conf"
    file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    command, port = _postfix(folder, site, milter)
    return [[_program("opendkim"), "-f", "-x", str(file)], command], [milter, port]


_RSPAMD = """\
options {{
  filters = "dkim"; pidfile = "{folder}/rspamd.pid"; tempdir = "{folder}/run"; hs_cache_dir = "{folder}/run/";
  local_addrs = ["127.0.0.0/8"]; dns {{ nameserver = ["127.0.0.1"]; timeout = 0.1s; retransmits = 1; }}
  max_message = 100mb; allow_raw_input = true;
}}
logging {{ type = "file"; filename = "{folder}/rspamd.log"; level = "warning"; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}"; milter = yes; timeout = 20s; count = 2; quarantine_on_reject = false;
  upstream "local" {{ default = yes; self_scan = yes; }}
}}
modules {{ path = "/usr/share/rspamd/plugins/dkim_signing.lua"; }}
dkim {{ dkim_cache_size = 2k; }}
dkim_signing {{
  sign_local = true; sign_authenticated = true; use_esld = false; allow_hdrfrom_mismatch = true;
  allow_username_mismatch = true; check_pubkey = false;
  domain {{ "{domain}" {{ selectors [ {{ path = "{key}"; selector = "{selector}"; }} ] }} }}
}}
metric {{ name = "default"; actions {{ reject = 1000; add_header = 999; greylist = 998; }} }}
"""


def _postfix_rspamd(folder: Path, site: Site) -> tuple[list[list[str]], list[int]]:
    milter = free_port()
    (folder / "run").mkdir()
    file = folder / "rspamd.conf"
    file.write_text(
        _RSPAMD.format(
            folder=folder,
            port=milter,
            domain=site.domain,
            key=site.key_file,
            selector=site.selector,
        )
    )
    command, port = _postfix(folder, site, milter)
    return [[_program("rspamd"), "-f", "-i", "-c", str(file)], command], [milter, port]


# ---- Haraka

_ROUTE = """\
'use strict';
exports.register = function () {
    this.register_hook('connect', 'relays'); this.register_hook('rcpt', 'takes'); this.register_hook('get_mx', 'goes');
};
exports.relays = (next, connection) => { connection.relaying = true; next(); };
exports.takes = (next) => next(OK);
exports.goes = (next) => next(OK, { priority: 0, exchange: '127.0.0.1', port: PORT });
"""


def _haraka(folder: Path, site: Site) -> tuple[list[list[str]], list[int]]:
    port = free_port()
    config, plugins = folder / "config", folder / "plugins"
    config.mkdir()
    plugins.mkdir()
    key = config / "dkim" / site.domain
    key.mkdir(parents=True)
    (key / "private").write_bytes(Path(site.key_file).read_bytes())
    (key / "selector").write_text(site.selector)
    files = {
        "dkim.ini": f"[sign]\nenabled=true\nselector={site.selector}\ndomain={site.domain}\n"
        "[verify]\nenabled=false\n[canon]\nbody=relaxed\n",
        "log.ini": "[main]\nlevel=warn\n",
        "me": "peer.example\n",
        "outbound.ini": "concurrency_max=100\nenable_tls=false\nlocal_mx_ok=true\n",
        "plugins": "bench_route\ndkim\n",
        "smtp.ini": f"listen=127.0.0.1:{port}\nnodes=2\ninactivity_timeout=60\n",
    }
    for name, text in files.items():
        (config / name).write_text(text)
    installed = Path(os.path.realpath(_program("haraka"))).parents[1] / "config"
    if (installed / "connection.ini").exists():  # it doesn't start without
        shutil.copy(installed / "connection.ini", config)
    (plugins / "bench_route.js").write_text(_ROUTE.replace("PORT", str(site.sink_port)))
    return [[_program("haraka"), "-c", str(folder)]], [port]


# ---- Veredus

_VEREDUS = """\
data_dir = "{folder}/data"
[http]
port = 0
[submission]
port = {port}
[delivery]
mode = "relay"
allow = "any"
ehlo_name = "peer.example"
[delivery.relay]
host = "127.0.0.1"
port = {sink_port}
starttls = "none"
[limits.default]
messages_per_s = 1000000.0
burst = 1000000
connections_max = 40
[log]
level = "warning"
[[tenant]]
from_domains = ["{domain}"]
from_address = "hello@{domain}"
[[tenant.dkim]]
domain = "{domain}"
selector = "{selector}"
key_file = "{key}"
"""


def _veredus(folder: Path, site: Site) -> tuple[list[list[str]], list[int]]:
    port = free_port()
    for name in ("scenarios", "templates"):
        (folder / name).mkdir()
    file = folder / "veredus.toml"
    file.write_text(
        _VEREDUS.format(
            folder=folder,
            port=port,
            sink_port=site.sink_port,
            domain=site.domain,
            selector=site.selector,
            key=site.key_file,
        )
    )
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from actors.cli.main import main; main()"
    )
    return [[sys.executable, "-c", code, "up", "--config", str(file)]], [port]


def peers() -> tuple[Peer, ...]:
    """Give all peers, Veredus first."""
    return (
        Peer("veredus", (), _veredus),
        Peer("postfix_opendkim", ("postfix", "opendkim"), _postfix_opendkim),
        Peer("postfix_rspamd", ("postfix", "rspamd"), _postfix_rspamd),
        Peer("haraka", ("haraka", "node"), _haraka, pipelining=False),
    )
