"""A device over SSH: a real OpenSSH server on loopback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paring.core.errors import ParingError
from paring.devices import session
from paring.devices.reach import Options, Work, open
from paring.devices.session import Session
from paring.targets.litert.runner import LiteRTRunner
from paring.testing.reaches import IMAGES, ReachContract, here, until
from paring.testing.sshd import Server, wrapper


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


class TestSSH(ReachContract):
    @pytest.fixture
    def address(self, server: Server) -> str:
        return server.address

    @pytest.fixture
    def options(self, server: Server) -> Options:
        return Options(identity=server.identity, known_hosts=server.known_hosts)

    @pytest.fixture
    def artifact(self, files: Path) -> Path:
        return files / "int8.tflite"

    def test_a_connection_that_is_cut_is_made_again_and_nothing_is_done_twice(
        self, server: Server, python: Options, work: Work, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sent: list[str] = []
        ask = Session._ask

        def cutting(self: Session, message: dict[str, object]) -> dict[str, object]:
            sent.append(str(message["do"]))
            if sent.count("work") == 2 and message["do"] == "work":
                server.cut()  # after the timing was done, before the memory is measured
            return ask(self, message)

        monkeypatch.setattr(Session, "_ask", cutting)
        with open(server.address, python) as reach:
            folder = list(place.iterdir())
            found = reach.bench({"a": work}, seconds=0.05)
            assert list(place.iterdir()) == folder  # it went on in the same one
            assert sent.count("work") == 3
            assert sent.count("put") == 2  # the artifact and its inputs, once each
            logs = list(folder[0].glob("*.job"))
            assert len(logs) == 2
        assert found["a"].peak is not None
        assert not list(place.iterdir())

    def test_a_measurement_that_ended_while_nobody_listened_is_taken_as_it_is(
        self, server: Server, python: Options, work: Work, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        receive = session.Session._answer
        cuts: list[int] = []
        files: list[int] = []  # on the disk, of the result; one that is written again is another

        def deaf(self: Session) -> dict[str, object]:
            if not cuts and list(place.glob("*/*.job")):
                until(lambda: bool(list(place.glob("*/*.result"))))
                files.extend(path.stat().st_ino for path in place.glob("*/*.result"))
                cuts.append(server.cut())
            return receive(self)

        monkeypatch.setattr(Session, "_answer", deaf)
        with open(server.address, python) as reach:
            found = reach.run(work)["output"]
            assert [path.stat().st_ino for path in place.glob("*/*.result")] == files
        assert cuts == [1]
        np.testing.assert_array_equal(found, here(LiteRTRunner(work.artifact)))
        assert not list(place.iterdir())

    def test_a_device_that_stays_away_clears_itself(
        self, server: Server, python: Options, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session, "GRACE", 0.2)
        monkeypatch.setattr(session, "_PAUSES", ())
        reach = open(server.address, python)
        reach.__enter__()
        assert len(list(place.iterdir())) == 1
        server.cut()
        with pytest.raises(ParingError, match="the connection is lost"):
            reach.run(Work(Path(__file__).parent / "files/int8.tflite", {"image": IMAGES}))
        until(lambda: not list(place.iterdir()))
        reach.__exit__(None, None, None)

    def test_a_killed_process_leaves_nothing_on_the_device(
        self, server: Server, python: Options, place: Path, tmp_path: Path
    ) -> None:
        code = (
            "import sys, time; from pathlib import Path; from paring.devices import session; session.GRACE = 0.2; "
            "from paring.devices.reach import Options, open; a, i, k, p = sys.argv[1:]; "
            "open(a, Options(Path(i), Path(k), p)).__enter__(); print('reached', flush=True); time.sleep(60)"
        )
        arguments = [server.address, str(python.identity), str(python.known_hosts), python.python]
        with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"reached\n"
            assert len(list(place.iterdir())) == 1
            process.kill()
        until(lambda: not list(place.iterdir()))

    def test_what_a_killed_runner_left_goes_with_the_next(self, server: Server, python: Options, place: Path) -> None:
        left = place / "paring-left"
        left.mkdir()
        (left / "lock").touch()
        os.utime(left, (0, 0))
        with open(server.address, python):
            assert not left.exists()
        young = place / "paring-young"  # one that begins just now is not touched
        young.mkdir()
        with open(server.address, python):
            assert young.exists()
        young.rmdir()

    def test_a_runner_that_is_asked_to_end_clears_its_folder(
        self, server: Server, python: Options, place: Path, tmp_path: Path
    ) -> None:
        telling = wrapper(tmp_path / "telling", before=f"echo $$ > {tmp_path}/pid; export TMPDIR={place}")
        with open(server.address, replace(python, python=telling)):
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
            until(lambda: not list(place.iterdir()))


class TestStrangers:
    @pytest.fixture
    def options(self, server: Server) -> Options:
        return Options(identity=server.identity, known_hosts=server.known_hosts, python=sys.executable)

    def test_an_unknown_host_is_refused_with_its_fingerprint(
        self, server: Server, options: Options, tmp_path: Path
    ) -> None:
        (tmp_path / "known_hosts").touch()
        with pytest.raises(ParingError, match=r"not known: it shows the key SHA256:") as caught:
            open(server.address, replace(options, known_hosts=tmp_path / "known_hosts")).__enter__()
        assert "ssh-keyscan -p" in caught.value.remedy

    def test_a_host_with_another_key_is_refused(self, server: Server, options: Options, tmp_path: Path) -> None:
        name = server.known_hosts.read_text().split()[0]
        other = server.stranger.with_suffix(".pub").read_text()
        (tmp_path / "known_hosts").write_text(f"{name} {other}")
        with pytest.raises(ParingError, match="key has changed") as caught:
            open(server.address, replace(options, known_hosts=tmp_path / "known_hosts")).__enter__()
        assert "ssh-keygen -R" in caught.value.remedy

    def test_a_key_that_the_device_does_not_know_is_refused(self, server: Server, options: Options) -> None:
        with pytest.raises(ParingError, match="lets nobody in") as caught:
            open(server.address, replace(options, identity=server.stranger)).__enter__()
        assert "authorized_keys" in caught.value.remedy

    @pytest.mark.parametrize("option", ["identity", "known_hosts"])
    def test_a_key_file_that_is_not_there_is_named(self, server: Server, options: Options, option: str) -> None:
        missing = {option: Path("/nowhere/key")}
        with pytest.raises(ParingError, match="no such file") as caught:
            open(server.address, replace(options, **missing))
        assert caught.value.where == "/nowhere/key"

    def test_a_key_that_cannot_be_read_is_named(self, server: Server, options: Options, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("no key at all")
        with pytest.raises(ParingError, match="cannot be read"):
            open(server.address, replace(options, identity=tmp_path / "key")).__enter__()

    def test_a_host_that_does_not_answer_is_unreachable(self, options: Options) -> None:
        with Server() as gone:
            gone.stop()
            with pytest.raises(ParingError, match="cannot be reached") as caught:
                open(gone.address, options).__enter__()
        assert caught.value.where == gone.address

    @pytest.mark.parametrize(
        "address", ["ssh:", "ssh://", "ssh://host:port", "ssh://user:secret@host", "ssh://host/path"]
    )
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(ParingError, match="is no address"):
            open(address)
