"""An OpenSSH server on this machine's loopback, with keys of its own, for tests. It changes nothing installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import psutil

from paring.core import atomic, debian
from paring.data import cache

_PACKAGES = ("openssh-server", "openssh-client", "libwrap0", "libnss-wrapper")
_TRIES = 100  # looks for the port, 0.1 s apart
_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
StrictModes no
UsePAM no
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


class Server:
    """A running server, until the `with` block ends; whoever runs the tests may log in with the key `identity`.

    Attributes:
        address: `ssh://user@127.0.0.1:port`.
        identity: a private key that it lets in.
        stranger: one that it does not.
        known_hosts: holds its key.
    """

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="sshd-"))
        self.identity, self.stranger = self._folder / "identity", self._folder / "stranger"
        self.known_hosts = self._folder / "known_hosts"
        root = _root()
        for name in ("host", "identity", "stranger"):
            _keygen(root, self._folder / name)
        shutil.copy(self._folder / "identity.pub", self._folder / "authorized")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.known_hosts.write_text(f"[127.0.0.1]:{port} {(self._folder / 'host.pub').read_text()}")
        (self._folder / "sshd_config").write_text(_CONFIG.format(port=port, folder=self._folder))
        self.address = f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{port}"
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(root / "usr/sbin/sshd"), "-D", "-e", "-f", str(self._folder / "sshd_config")],
                stderr=log, env=self._environment(root),
            )  # fmt: skip
        for _ in range(_TRIES):
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", port)) == 0:
                    return self
            time.sleep(0.1)
        self.__exit__()
        raise RuntimeError(f"the SSH server does not answer: {(self._folder / 'log').read_text()}")

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)

    def stop(self) -> None:
        """Ends the server, connections too: from now on nothing listens on its port."""
        self._process.terminate()
        self._process.wait()

    def cut(self) -> int:
        """Kills every connection, as a cable that is pulled does, and leaves what runs in them. Says how many."""
        if self._process.poll() is not None:
            return 0
        found = psutil.Process(self._process.pid).children()
        for one in found:
            for part in (one, *one.children()):
                if part.name().startswith("sshd"):
                    part.kill()
        return len(found)

    def _environment(self, root: Path) -> dict[str, str]:
        environment = dict(os.environ)
        library = root / "usr/lib" / f"{os.uname().machine}-linux-gnu"
        environment["LD_LIBRARY_PATH"] = str(library)
        if os.getuid() == 0:
            # run by root, it wants a user `sshd`, which a wrapper tells it of, and a folder, which goes with a restart
            Path("/run/sshd").mkdir(exist_ok=True)
            shutil.copy("/etc/passwd", self._folder / "passwd")
            shutil.copy("/etc/group", self._folder / "group")
            with (self._folder / "passwd").open("a") as passwd:
                passwd.write("sshd:x:61111:65534::/run/sshd:/usr/sbin/nologin\n")
            environment |= {
                "LD_PRELOAD": str(library / "libnss_wrapper.so"),
                "NSS_WRAPPER_PASSWD": str(self._folder / "passwd"),
                "NSS_WRAPPER_GROUP": str(self._folder / "group"),
            }
        return environment


def _root() -> Path:
    """Debian's OpenSSH, unpacked in the cache folder once."""
    folder = cache.folder() / "openssh"
    if not folder.exists():
        with atomic.directory(folder) as draft:
            debian.unpack(_PACKAGES, draft)
    return folder


def _keygen(root: Path, path: Path) -> None:
    command = [str(root / "usr/bin/ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def wrapper(path: Path, *, before: str = "", arguments: str = "") -> str:
    """A program at `path` that starts this Python after a line of shell, or with more arguments. Gives its path."""
    path.write_text(f'#!/bin/sh\n{before}\nexec "{sys.executable}" {arguments} "$@"\n')
    path.chmod(0o755)
    return str(path)
