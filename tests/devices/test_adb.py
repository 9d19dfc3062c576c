"""A device over adb. No phone is at hand: a stand-in for the tool runs what it is told on this machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from paring.core.errors import ParingError
from paring.devices import adb, benchmark_model
from paring.devices.reach import Options, Work, open
from paring.testing.reaches import IMAGES, ReachContract

# what the tool does with `get-state`, `push` and `shell`; `devices` is a file with the serial numbers
ADB = """\
#!/bin/sh
home=$(dirname "$0")
serial=$(head -n 1 "$home/devices")
if [ "$1" = -s ]; then serial=$2; shift 2; fi
if [ -z "$serial" ]; then echo "error: no devices/emulators found" >&2; exit 1; fi
if ! grep -qx "$serial" "$home/devices"; then echo "error: device '$serial' not found" >&2; exit 1; fi
if [ -e "$home/unauthorized" ]; then echo "error: device unauthorized." >&2; exit 1; fi
case $1 in
get-state) echo device ;;
push) if [ -e "$home/full" ]; then echo "adb: error: failed to copy: No space left on device" >&2; exit 1; fi
      cp "$2" "$3" ;;
shell) shift; exec sh -c "getprop() { echo \\"$serial\\"; }; $*" ;;
esac
"""

# what LiteRT's tool prints, with its own numbers: each call takes 1 ms longer for files of more than 5,000 bytes
TOOL = """\
#!/bin/sh
for argument in "$@"; do case $argument in --graph=*) graph=${argument#--graph=} ;; esac; done
if [ "$(head -c 8 "$graph" | tail -c 4)" != TFL3 ]; then echo "ERROR: Failed to load model $graph" >&2; exit 1; fi
time=1000; if [ "$(wc -c < "$graph")" -gt 5000 ]; then time=2000; fi
echo "$@" >> "$(dirname "$0")/calls"
echo "INFO: count=5 first=5000 curr=5000 min=5000 max=5000 avg=5000 std=0 p5=5000 median=5000 p95=5000"
echo "INFO: count=50 first=9000 curr=1500 min=900 max=9000 avg=1600.5 std=419 p5=900 median=$time p95=3000"
echo "INFO: Inference timings in us: Init: 20283, First inference: 339304, Warmup (avg): 5000, Inference (avg): 1600.5"
echo "INFO: Overall peak memory footprint (MB) via periodic monitoring: 93.5"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in is, on the PATH, and one device with it."""
    home = tmp_path / "tools"
    home.mkdir()
    program(home / "adb", ADB)
    (home / "devices").write_text("pixel\n")
    monkeypatch.setenv("PATH", str(home), prepend=":")
    return home


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`/data/local/tmp` of the device."""
    place = tmp_path / "device"
    place.mkdir(exist_ok=True)
    monkeypatch.setattr(adb, "FOLDER", str(place))
    monkeypatch.setattr(benchmark_model, "FOLDER", str(place))
    return place


class TestPython(ReachContract):
    @pytest.fixture
    def address(self) -> str:
        return "adb:pixel"

    @pytest.fixture
    def artifact(self, files: Path) -> Path:
        return files / "int8.tflite"


class TestBenchmarkModel:
    @pytest.fixture
    def options(self, home: Path) -> Options:
        program(home / "benchmark_model", TOOL)
        return Options(benchmark_model=str(home / "benchmark_model"))

    def test_what_the_tool_prints_is_measured(self, options: Options, home: Path, place: Path, files: Path) -> None:
        work = {name: Work(files / f"{name}.tflite") for name in ("float", "int8")}
        with open("adb", replace(options, cores=(0,))) as reach:
            found = reach.bench(work, threads=1, seconds=1.4)
            assert [path.name for path in sorted(place.glob("*/*"))] == ["0.tflite", "1.tflite"]
        assert [(one.timing.median, one.timing.ratio) for one in found.values()] == [(1.0, 1.0), (2.0, 2.0)]
        assert found["int8"].timing.samples == 7 * 50
        assert found["int8"].peak == 93_500_000
        assert found["int8"].device == "pixel pixel pixel · LiteRT benchmark_model · 1 thread"
        calls = (home / "calls").read_text().splitlines()
        assert [("0.tflite" in call, "1.tflite" in call) for call in calls] == [(True, False), (False, True)] * 7
        assert "--num_threads=1" in calls[0]
        assert "--min_secs=0.100" in calls[0]
        assert not list(place.iterdir())

    def test_an_older_tool_tells_the_average_alone(
        self, options: Options, home: Path, place: Path, files: Path
    ) -> None:
        older = TOOL.replace(" p5=900 median=$time p95=3000", "").replace(" p5=5000 median=5000 p95=5000", "")
        program(home / "benchmark_model", older)
        with open("adb", options) as reach:
            found = reach.bench({"a": Work(files / "int8.tflite")}, seconds=0.1)
        assert found["a"].timing.median == 1.6005

    def test_it_gives_no_answers(self, options: Options, place: Path, files: Path) -> None:
        with open("adb", options) as reach, pytest.raises(ParingError, match="gives no answers"):
            reach.run(Work(files / "int8.tflite", {"image": IMAGES}))

    def test_a_file_that_it_refuses_is_named(self, options: Options, place: Path, tmp_path: Path) -> None:
        (tmp_path / "damaged.tflite").write_bytes(b"damaged")
        with pytest.raises(ParingError, match="Failed to load model") as caught, open("adb", options) as reach:
            reach.bench({"damaged": Work(tmp_path / "damaged.tflite")})
        assert caught.value.where == "damaged on adb"
        assert not list(place.iterdir())

    def test_a_file_of_another_runtime_is_refused(self, options: Options, place: Path, files: Path) -> None:
        with open("adb", options) as reach, pytest.raises(ParingError, match=r"\.tflite files alone"):
            reach.bench({"a": Work(files / "int8.onnx")})

    def test_a_full_device_is_told_and_left_as_it_was(
        self, options: Options, home: Path, place: Path, files: Path
    ) -> None:
        (home / "full").touch()
        with pytest.raises(ParingError, match="No space left on device"), open("adb", options) as reach:
            reach.bench({"a": Work(files / "int8.tflite")})
        assert not list(place.iterdir())

    def test_a_tool_that_is_not_there_is_told_with_how_to_get_it_there(self, place: Path) -> None:
        with pytest.raises(ParingError, match="no program /nowhere") as caught:
            open("adb", Options(benchmark_model="/nowhere")).__enter__()
        assert "adb push benchmark_model" in caught.value.remedy


@pytest.mark.parametrize(
    ("devices", "address", "problem", "remedy"),
    [
        ("", "adb", "no devices/emulators found", "plug it in"),
        ("pixel\n", "adb:nexus", "device 'nexus' not found", "adb devices"),
    ],
)
def test_a_device_that_is_not_there_is_unreachable(
    home: Path, devices: str, address: str, problem: str, remedy: str
) -> None:
    (home / "devices").write_text(devices)
    with pytest.raises(ParingError, match=problem) as caught:
        open(address)
    assert caught.value.where == address
    assert remedy in caught.value.remedy


def test_a_device_that_does_not_trust_this_computer_is_unreachable(home: Path) -> None:
    (home / "unauthorized").touch()
    with pytest.raises(ParingError, match="unauthorized") as caught:
        open("adb")
    assert "unlock" in caught.value.remedy


def test_without_the_tool_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ParingError, match="no adb on the PATH"):
        open("adb")


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
