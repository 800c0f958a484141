"""Real mail servers on loopback with folders of their own, each of which relays what it takes to one sink.

None is installed by the tests: what isn't on PATH (or /usr/sbin) is skipped by name. `VEREDUS_TEST_PATH` adds folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_S = 20.0


def find(*names: str) -> str:
    """Find a program, or skip the test by name."""
    places = os.pathsep.join(
        [os.environ.get("VEREDUS_TEST_PATH", ""), os.environ["PATH"], "/usr/sbin"]
    )
    for name in names:
        found = shutil.which(name, path=places)
        if found:
            return found
    pytest.skip(f"{names[0]} isn't installed")


def as_root(name: str) -> None:
    """Skip where a server can only be started by root."""
    if os.geteuid() != 0:
        pytest.skip(f"{name} has to be started by root")


@contextmanager
def answering_http(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a server that speaks HTTP in the foreground."""
    with _process(command, port, log, _speaks_http):
        yield


def takes_tls(port: int) -> bool:
    """Whether a server's STARTTLS comes to an end with a client that asks for nothing special."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.starttls(context=context)
            client.ehlo()
    except (OSError, smtplib.SMTPException):
        return False
    return True


def _speaks_http(sock: socket.socket) -> bool:
    sock.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
    return sock.recv(4) == b"HTTP"


def _greets(sock: socket.socket) -> bool:
    return sock.recv(3) == b"220"


@contextmanager
def _process(
    command: list[str], port: int, log: Path, ready: Callable[[socket.socket], bool] = _greets
) -> Iterator[None]:
    """Run a server in the foreground; end it and what it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _await_port(port, log, lambda: process.poll() is None, ready)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await_port(
    port: int,
    log: Path,
    alive: Callable[[], bool],
    ready: Callable[[socket.socket], bool] = _greets,
) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and alive():
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as sock:
                sock.settimeout(5)
                if ready(sock):
                    return
        except OSError:
            time.sleep(0.1)
    said = log.read_text("utf-8", "replace")[-600:] if log.exists() else ""
    pytest.skip(f"the server didn't start here: {said}")


_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.test
mydestination =
local_recipient_maps =
relayhost = [127.0.0.1]:{sink}
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_tls_security_level = may
smtpd_tls_chain_files = {pem}
message_size_limit = 60000000
"""


@contextmanager
def postfix(folder: Path, port: int, sink: int, pem: Path) -> Iterator[None]:
    """Postfix."""
    program = find("postfix")
    as_root("Postfix")
    shutil.chown(folder, "postfix")
    (folder / "main.cf").write_text(_MAIN_CF.format(folder=folder, sink=sink, pem=pem))
    lines = []
    for line in Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
        words = line.split()
        if len(words) >= 8 and not line.startswith(("#", " ")):
            words[4] = "n"  # no chroot
            if words[0] == "smtp" and words[1] == "inet":
                words[0] = f"127.0.0.1:{port}"
            line = " ".join(words)
        lines.append(line)
    (folder / "master.cf").write_text("\n".join(lines) + "\n")
    for name in ("queue", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    control = [program, "-c", str(folder)]
    ran = subprocess.run([*control, "start"], capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"Postfix didn't start here: {ran.stderr[-400:]}")
    try:
        _await_port(port, folder / "log", lambda: True)
        yield
    finally:
        subprocess.run([*control, "stop"], capture_output=True, check=False)


_EXIM = """
primary_hostname = exim.test
exim_path = {program}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts = *
tls_certificate = {pem}
tls_privatekey = {pem}
message_size_limit = 60M
smtputf8_advertise_hosts =
acl_smtp_rcpt = takes
begin acl
takes:
  accept
begin routers
sink:
  driver = manualroute
  transport = out
  route_list = * 127.0.0.1
  self = send
begin transports
out:
  driver = smtp
  port = {sink}
  allow_localhost
  hosts_avoid_tls = *
"""


@contextmanager
def exim(folder: Path, port: int, sink: int, pem: Path) -> Iterator[None]:
    """Exim."""
    program = find("exim4", "exim")
    as_root("Exim")
    config = folder / "exim.conf"
    config.write_text(_EXIM.format(program=program, folder=folder, port=port, sink=sink, pem=pem))
    (folder / "spool").mkdir()
    for path in (folder, folder / "spool", pem):
        shutil.chown(path, "Debian-exim")
    shutil.chown(config, "root")
    with _process([program, "-C", str(config), "-bdf", "-q30s"], port, folder / "out"):
        yield


_SMTPD = """
pki mx.test cert "{folder}/cert"
pki mx.test key "{folder}/key"
smtp max-message-size 60M
listen on 127.0.0.1 port {port} tls pki mx.test hostname mx.test
action "out" relay host "smtp://127.0.0.1:{sink}"
match from any for any action "out"
"""


@contextmanager
def opensmtpd(folder: Path, port: int, sink: int, pem: Path) -> Iterator[None]:
    """OpenSMTPD; its queue is where it was built to be."""
    program = find("smtpd")
    as_root("OpenSMTPD")
    config = folder / "smtpd.conf"
    config.write_text(_SMTPD.format(port=port, sink=sink, folder=folder))
    config.chmod(0o600)
    key, mark, rest = pem.read_text().partition("-----BEGIN CERTIFICATE-----")
    for name, text in (("key", key), ("cert", mark + rest)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    with _process([program, "-d", "-f", str(config)], port, folder / "out"):
        yield


_HARAKA_CONNECTION = """
[max]
bytes=60000000
mime_parts=1000
line_length=512
data_line_length=1000
[message]
greeting=haraka.test ESMTP
helo=haraka.test
close=bye
[uuid]
"""


@contextmanager
def haraka(folder: Path, port: int, sink: int, pem: Path) -> Iterator[None]:
    """Haraka."""
    program = find("haraka")
    config = folder / "config"
    config.mkdir()
    written = {
        "smtp.ini": f"listen=127.0.0.1:{port}\nnodes=0\n",
        "me": "haraka.test\n",
        "plugins": "tls\nrcpt_to.in_host_list\nqueue/smtp_forward\n",
        "host_list": "a.test\n",
        "smtp_forward.ini": f"host=127.0.0.1\nport={sink}\nenable_tls=false\n",
        "tls.ini": f"key={pem}\ncert={pem}\n",
        "databytes": "60000000\n",
        "connection.ini": _HARAKA_CONNECTION,
        "max_line_length": "1000\n",
    }
    for name, text in written.items():
        (config / name).write_text(text)
    with _process([program, "-c", str(folder)], port, folder / "out"):
        yield
