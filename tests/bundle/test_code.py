"""The integration code: compiled and run where that can be done here, parsed with the language's grammar elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tree_sitter_kotlin
import tree_sitter_swift
from tree_sitter import Language, Node, Parser

from paring import api
from paring.bundle import code, manifest
from paring.bundle.manifest import Artifact, FileEnd, Golden, GoldenInput, Tolerance
from paring.bundle.platforms import PLATFORMS
from paring.core.model import TensorSpec
from paring.data import digits
from paring.targets.feeding import End

STUBS = Path(__file__).parent / "stubs"
GRAMMARS = {".kt": tree_sitter_kotlin, ".kts": tree_sitter_kotlin, ".swift": tree_sitter_swift}


def faults(path: Path) -> list[str]:
    """What a grammar cannot make sense of."""
    content = path.read_bytes()

    def wrong(node: Node) -> Iterator[Node]:
        if node.type == "ERROR" or node.is_missing:
            yield node
        for child in node.children:
            yield from wrong(child)

    tree = Parser(Language(GRAMMARS[path.suffix].language())).parse(content)
    return [f"{path.name}: {content[n.start_byte : n.end_byte]!r}" for n in wrong(tree.root_node)]


def sources(bundle: Path) -> list[Path]:
    return [path for path in sorted(bundle.rglob("*")) if path.suffix in GRAMMARS]


def golden_test(bundle: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    """The bundle's own, in a Python that knows nothing of paring."""
    given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = bundle / "python" / "golden_test.py"
    return subprocess.run([sys.executable, script, *targets], check=False, capture_output=True, text=True, env=given)


def test_python_replays_its_golden_samples(bundles: Mapping[str, Path], tmp_path: Path) -> None:
    bundle = shutil.copytree(bundles["python"], tmp_path / "python")
    done = golden_test(bundle)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()] == [
        "preprocessing:",
        "golden/expected/litert/output.bin:",
        "golden/expected/onnxruntime/output.bin:",
    ]
    assert api.verify(bundle).good  # it left nothing behind
    expected = bundle / "golden/expected/litert/output.bin"
    expected.write_bytes(np.fromfile(expected, "<f4")[::-1].tobytes())
    done = golden_test(bundle, "litert")
    assert (done.returncode, "FAIL" in done.stdout) == (1, True)


@pytest.mark.slow  # another export
def test_python_replays_what_openvino_answered(openvino_run: Path) -> None:
    bundle = api.bundle(openvino_run, "python")
    assert api.verify(bundle).good
    done = golden_test(bundle, "openvino")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "golden/expected/openvino/output.bin" in done.stdout


def needed(*tools: str) -> None:
    """Skips a test where tools are missing; fails it in CI, which installs them."""
    lacking = [tool for tool in tools if shutil.which(tool) is None]
    if lacking:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {' and '.join(lacking)}")


def test_c_plus_plus_is_compiled_and_replays_its_golden_samples(bundles: Mapping[str, Path], tmp_path: Path) -> None:
    needed("cmake", "c++")
    onnxruntime, litert = (Path(str(find_spec(name).origin)).parent for name in ("onnxruntime", "ai_edge_litert"))  # type: ignore[union-attr]
    library = tmp_path / "libonnxruntime.so.1"  # as the loader looks for it
    library.symlink_to(next((onnxruntime / "capi").glob("libonnxruntime.so.*")))
    bundle, build = bundles["linux"], tmp_path / "build"
    given = {
        "LITERT_LIBRARY": litert / "libLiteRt.so",
        "ONNXRUNTIME_LIBRARY": library,
        "ONNXRUNTIME_INCLUDE": STUBS / "include",
        "CMAKE_CXX_FLAGS": "-Wall -Wextra -Wconversion -Werror",
    }
    options = [f"-D{name}={value}" for name, value in given.items()]
    for command in (["cmake", "-S", bundle / "linux", "-B", build, *options], ["cmake", "--build", build]):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["ctest", "--test-dir", build, "-V"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert len(re.findall(r"ok +golden/expected/\w+/output.bin: 0 apart", done.stdout)) == 2
    assert done.stdout.count("ok   preprocessing") == 2

    spoilt = shutil.copytree(bundle, tmp_path / "spoilt")
    (spoilt / "golden/expected/litert/output.bin").write_bytes(bytes(4 * 80))
    assert subprocess.run([build / "golden", spoilt, "litert"], check=False, capture_output=True).returncode == 1
    assert subprocess.run([build / "golden", spoilt, "executorch"], check=False, capture_output=True).returncode == 2


def test_kotlin_and_swift_are_parsed(coreml_run: Path, bundles: Mapping[str, Path], tmp_path: Path) -> None:
    ios = api.bundle(coreml_run, "ios", tmp_path / "ios")
    found = sources(bundles["android"]) + sources(ios)
    assert {path.name for path in found} >= {"GoldenTest.kt", "LiteRTModel.kt", "CoreMLModel.swift", "Package.swift"}
    assert not [fault for path in found for fault in faults(path)]
    (tmp_path / "Broken.kt").write_text("fun f( { }")
    assert faults(tmp_path / "Broken.kt")


LABELS = ('a "quoted" label', "price $5", "back\\slash", "größer 😀", "line\nbreak \x07")


def made(platform: str, task: Any, folder: Path) -> Path:
    """The code alone, for every target of a platform, as if a run had been."""
    ends = tuple(FileEnd.of(s.name, End((), "int32"), s.sized(1)) for s in task.inputs)
    output = FileEnd(name="output", shape=(1, 5), dtype="float32")
    limit = Tolerance(same=0, elsewhere=0.1, processor="", why="")
    artifacts = [
        Artifact(
            target=target, path=f"artifacts/{target}/model", runtime="X 1.0", inputs=ends, outputs=(output,),
            expected={"output": f"golden/expected/{target}/output.bin"}, tolerance={"output": limit},
        )
        for target in PLATFORMS[platform].targets
    ]  # fmt: skip
    inputs = tuple(
        GoldenInput(name=s.name, path=f"golden/inputs/{s.name}.bin", dtype=s.dtype, shape=s.sized(1))
        for s in task.inputs
    )
    golden = Golden(samples=1, inputs=inputs, raw=None, original={}, shapes={"output": (1, 5)}, targets=(0,))
    code.write(folder, PLATFORMS[platform], "1st run!", task, artifacts, golden, "golden/golden.json", ("a note",))
    return folder


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("kind", ["text", "tensor"])
def test_code_for_texts_and_for_plain_tensors(platform: str, kind: str, tmp_path: Path) -> None:
    steps = {"tokenizer": "tokenizer.json", "length": 16, "pad": 0, "side": "right"} if kind == "text" else {}
    names = ("input_ids", "attention_mask")
    specs = tuple(TensorSpec(name, ("batch", "length"), "int64", free={"length": 16}) for name in names)
    task = SimpleNamespace(inputs=specs, labels=LABELS if kind == "text" else (), preprocessing=steps)
    folder = made(platform, task, tmp_path)
    assert not [fault for path in sources(folder) for fault in faults(path)]
    for path in folder.rglob("*.py"):
        compile(path.read_text(), path.name, "exec")
    text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "pared_1st_run" in text or "Pared1stRun" in text
    assert ("tokenizer.json" in text) is (kind == "text")
    assert "preprocess(" not in text


def test_labels_come_through_as_they_are(tmp_path: Path) -> None:
    """What a compiler reads from the literals, for C++; for the others the rules of the language."""
    filters = {name: code._literal(rule) for name, rule in code._ESCAPES.items()}
    assert filters["kotlin"]("$5\x07") == '"\\u00245\\u0007"'
    assert filters["swift"]('\\"\n') == '"\\\\\\"\\u{a}"'
    needed("c++")
    prints = " ".join(f"puts({filters['cpp'](label)});" for label in LABELS)
    (tmp_path / "labels.cpp").write_text(f"#include <cstdio>\nint main() {{ {prints} }}\n", encoding="utf-8")
    subprocess.run(["c++", tmp_path / "labels.cpp", "-o", tmp_path / "labels"], check=True)
    said = subprocess.run([tmp_path / "labels"], check=True, capture_output=True).stdout
    assert said.decode() == "".join(f"{label}\n" for label in LABELS)


@pytest.mark.slow  # fetches Kotlin's compiler, which takes half a minute of processor time
@pytest.mark.skipif(not (shutil.which("npm") and shutil.which("java")), reason="needs npm and Java")
def test_kotlin_is_compiled_against_signatures_and_preprocesses_as_the_data_did(full_run: Path, tmp_path: Path) -> None:
    bundle = api.bundle(full_run, "android")
    assert api.verify(bundle).good
    done = golden_test(api.bundle(full_run, "python"), "executorch")
    assert done.returncode == 0, done.stderr

    package = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", tmp_path, "kotlin-compiler@2.4.20"]
    subprocess.run(package, check=True)
    compiler, jar = tmp_path / "node_modules/kotlin-compiler/bin/kotlinc", tmp_path / "all.jar"
    main = tmp_path / "Main.kt"
    main.write_text((STUBS / "kotlin/Main.kt").read_text().replace("{{slug}}", code.slug("full-run")))
    stubs = [path for path in (STUBS / "kotlin").glob("*.kt") if path.name != main.name]
    kotlin = ["bash", compiler, "-include-runtime", "-d", jar, *bundle.rglob("*.kt"), *stubs, main]
    done = subprocess.run(kotlin, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ready, codes = tmp_path / "ready", tmp_path / "codes"
    java = ["java", "-cp", jar, f"{code.slug('full-run')}.MainKt", bundle / "golden/raw.bin", ready, codes]
    subprocess.run(java, check=True)
    images = np.fromfile(bundle / "golden/inputs/image.bin", "<f4").reshape(-1, 1, 8, 8)
    np.testing.assert_allclose(np.fromfile(ready, "<f4"), images.ravel(), atol=1e-6)
    (end,) = manifest.read(bundle).artifacts[0].inputs
    encoded = End(end.shape, end.dtype, end.scale, end.zero_point, end.channels_last).encode(images)
    np.testing.assert_array_equal(np.fromfile(codes, np.int8), encoded.ravel())


def test_three_channels_are_turned_in_every_language(tmp_path: Path) -> None:
    """Python's and C++'s encoders against the runner's own, for an image whose channels go last."""
    task = digits.open_digits("digits")
    coloured = SimpleNamespace(
        inputs=(replace(task.inputs[0], shape=("batch", 3, 8, 8)),),
        labels=("a", "b"),
        preprocessing={**task.preprocessing, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]},
    )
    end = End((1, 8, 8, 3), "uint8", 0.02, 7, channels_last=True)
    values = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    folder = made("linux", coloured, tmp_path)
    needed("c++")
    (tmp_path / "main.cpp").write_text(MAIN, encoding="utf-8")
    source = folder / "linux/src/pared_1st_run.cpp"
    command = ["c++", "-std=c++17", f"-I{folder}/linux/include", tmp_path / "main.cpp", source, "-o", tmp_path / "main"]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "main"], check=True, capture_output=True, input=values.tobytes())
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.uint8), end.encode(values).ravel())


MAIN = """
#include <cstdio>
#include "pared_1st_run.h"

int main() {
  std::vector<float> values(192);
  if (std::fread(values.data(), 4, 192, stdin) != 192) return 1;
  const pared_1st_run::End end{"image", pared_1st_run::Type::uint8, {1, 8, 8, 3}, 0.02f, 7, true};
  const auto codes = pared_1st_run::encode(values, end);
  std::fwrite(codes.data(), 1, codes.size(), stdout);
}
"""
