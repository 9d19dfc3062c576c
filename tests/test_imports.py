"""Light to start: nothing heavy is imported until it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch", "numpy", "torchao", "litert_torch", "ai_edge_litert", "jax", "accelerate", "sklearn", "PIL", "plotly",
    "safetensors", "jinja2",
}  # fmt: skip


def imported_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    "statement",
    [
        "import paring",
        "import paring.cli",
        "import sys; sys.argv = ['paring', '--help']\nimport paring.cli\n"
        "try: paring.cli.main()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['paring', 'compress', '--help']\nimport paring.cli\n"
        "try: paring.cli.main()\nexcept SystemExit: pass",
    ],
)
def test_starting_imports_no_framework(statement: str) -> None:
    assert not imported_by(statement) & HEAVY


def test_the_converter_to_litert_is_loaded_alone_and_in_silence() -> None:
    code = "from paring.targets.litert import check, export\ncheck._lowerings()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_openvino_is_imported_without_what_tells_of_it() -> None:
    code = "from paring.targets.openvino.library import openvino\nimport sys\nopenvino.Core()\n"
    code += "print('multiprocessing' in sys.modules, 'openvino_telemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_public_names_exist() -> None:
    import paring

    assert sorted(paring.__all__) == paring.__all__
    assert all(getattr(paring, name) is not None for name in paring.__all__)
    with pytest.raises(AttributeError):
        _ = paring.no_such_name


def test_arrows_of_imports_are_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    assert done.returncode == 0, done.stdout
