"""A device over SSH. Keys of hosts are checked, always; no password is asked for."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncssh

from paring.core.errors import ParingError
from paring.devices.reach import Options, Reach
from paring.devices.remote import LACKING
from paring.devices.session import Broken, Pipe, Session, Unreachable

T = TypeVar("T")
_CONNECT = 15  # seconds for a connection
_ALIVE = 5  # seconds between signs of life; three that stay away are a lost connection
_PATIENCE = 10.0  # seconds for the runner to end
_READ = 1 << 16


def open(rest: str, options: Options) -> Reach:
    """The device at `//user@host:port`; user and port may be left out, `~/.ssh/config` counts.

    Raises:
        ParingError: the address or a file of keys cannot be read.
    """
    where = f"ssh:{rest}"
    try:
        parts = urlsplit(where)
        port = parts.port
    except ValueError as error:
        raise _unreadable(where) from error
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.password is not None:
        raise _unreadable(where)
    for path, option in ((options.identity, "--identity"), (options.known_hosts, "--known-hosts")):
        if path is not None and not path.is_file():
            raise ParingError("there is no such file", str(path), f"give {option} another")
    return Session(_SSH(where, parts.hostname, port, parts.username, options), options.cores)


class _SSH:
    lasting, emulated, cpu, lacking = True, False, "", LACKING
    launch: Sequence[str] = ()

    def __init__(self, where: str, host: str, port: int | None, user: str | None, options: Options) -> None:
        self.where, self._python = where, options.python or "python3"
        self._known = options.known_hosts or Path.home() / ".ssh" / "known_hosts"
        self._host, self._port = host, port
        self._arguments: dict[str, Any] = {
            "known_hosts": str(self._known) if self._known.is_file() else asyncssh.import_known_hosts(""),
            "password_auth": False, "kbdint_auth": False, "login_timeout": _CONNECT, "connect_timeout": _CONNECT,
            "keepalive_interval": _ALIVE, "keepalive_count_max": 3,
        }  # fmt: skip
        self._arguments |= {"port": port} if port else {}
        self._arguments |= {"username": user} if user else {}
        if options.identity:
            self._arguments |= {"client_keys": [str(options.identity)], "agent_path": None}
        self._loop = asyncio.Runner()
        self._connection: asyncssh.SSHClientConnection | None = None

    def start(self, code: str) -> Pipe:
        """Connects and starts Python."""
        self._close()
        self._connection = self._loop.run(self._connected())
        # `~` is for the shell of the device; quotes would keep it from that
        home = "~/" if self._python.startswith("~/") else ""
        command = f"{home}{shlex.quote(self._python.removeprefix('~/'))} -c {shlex.quote(code)}"
        try:
            return _Channel(self._loop, self._loop.run(_started(self._connection, command)))
        except (asyncssh.Error, OSError) as error:
            raise Broken(str(error)) from error

    def end(self) -> None:
        """Disconnects."""
        self._close()
        self._loop.close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            with suppress(asyncssh.Error, OSError, TimeoutError):
                self._loop.run(_within(self._connection.wait_closed()))
            self._connection = None

    async def _connected(self) -> asyncssh.SSHClientConnection:
        try:
            return await asyncssh.connect(self._host, **self._arguments)
        except asyncssh.HostKeyNotVerifiable as error:
            raise await self._stranger() from error
        except asyncssh.PermissionDenied as error:
            raise ParingError(
                f"lets nobody in with these keys: {error.reason}",
                self.where,
                "add the public key to ~/.ssh/authorized_keys on the device (ssh-copy-id does), or name the key that "
                "it knows with --identity",
            ) from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise ParingError(
                f"a key cannot be read: {error}",
                self.where,
                "name another with --identity; one with a passphrase is given by ssh-agent (ssh-add)",
            ) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
            raise Unreachable(
                f"cannot be reached: {reason or 'it does not answer'}",
                self.where,
                "check that the device is on, that its SSH server runs (apt install openssh-server), and host and port",
            ) from error

    async def _stranger(self) -> ParingError:
        """Why the host's key is not taken: it is another than the known one, or none is known."""
        key = None
        with suppress(asyncssh.Error, OSError, TimeoutError):
            key = await _within(asyncssh.get_server_host_key(self._host, self._port or ()))
        print_ = key.get_fingerprint() if key else "unreadable"
        name = self._host if self._port in (None, 22) else f"[{self._host}]:{self._port}"
        see = "on the device, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub tells it"
        if self._knows():
            return ParingError(
                f"the host's key has changed: it shows {print_}, {self._known} holds another",
                self.where,
                f"if the device was set up anew: compare ({see}), then ssh-keygen -R '{name}' -f {self._known} and add "
                "the new key; if not, somebody may stand between",
            )
        port = f"-p {self._port} " if self._port else ""
        return ParingError(
            f"the host is not known: it shows the key {print_}, {self._known} holds none of it",
            self.where,
            f"compare ({see}), then: ssh-keyscan {port}{self._host} >> {self._known}",
        )

    def _knows(self) -> bool:
        """Whether there is any key of the host."""
        try:
            known = asyncssh.read_known_hosts(str(self._known))
        except (OSError, ValueError):
            return False
        return any(known.match(self._host, "", self._port if self._port != 22 else None)[:3])


class _Channel:
    """Contract: `paring.devices.session.Pipe`."""

    def __init__(self, loop: asyncio.Runner, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._loop, self._process, self._held = loop, process, b""

    def send(self, data: bytes) -> None:
        """Writes."""

        async def write() -> None:
            self._process.stdin.write(data)
            await self._process.stdin.drain()

        self._run(write())

    def receive(self) -> bytes:
        """The next line."""
        parts = [self._held]
        while b"\n" not in parts[-1]:
            parts.append(self._run(self._process.stdout.read(_READ)))
            if not parts[-1]:
                raise Broken(self._last_words())
        line, _, self._held = b"".join(parts).partition(b"\n")
        return line + b"\n"

    def close(self) -> None:
        """Ends the process's input and waits for it."""

        async def ended() -> None:
            self._process.stdin.write_eof()
            await self._process.wait_closed()

        with suppress(Broken, asyncssh.Error, OSError, TimeoutError):
            self._run(_within(ended()))
        self._process.close()

    def _last_words(self) -> str:
        with suppress(Broken, TimeoutError):
            said = self._run(_within(self._process.stderr.read())).decode(errors="replace").strip()
            return said.splitlines()[-1] if said else f"it ended with {self._process.exit_status}"
        return "it ended"

    def _run(self, what: Coroutine[Any, Any, T]) -> T:
        try:
            return self._loop.run(what)
        except (asyncssh.Error, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise Broken(str(error)) from error


async def _started(connection: asyncssh.SSHClientConnection, command: str) -> asyncssh.SSHClientProcess[bytes]:
    return await connection.create_process(command, encoding=None)


async def _within(what: Awaitable[T]) -> T:
    return await asyncio.wait_for(what, _PATIENCE)


def _unreadable(where: str) -> ParingError:
    return ParingError("is no address", where, "write ssh://user@host:port; user and port may be left out")
