"""The demo: a trained network becomes a measured int8 LiteRT file.

MobileNetV2 on Fashion-MNIST from the checkpoint in this repository; where Fashion-MNIST cannot be had, ResNet-8 on the
digits that come with scikit-learn. `make demo` runs it; so do the tests.
"""

import sys
from pathlib import Path

from rich.console import Console

import paring
from paring import report
from paring.cli.show import Shown
from paring.data import open as open_data

HERE = Path(__file__).parent


def recipe() -> Path:
    """The recipe whose data can be had."""
    try:
        open_data("fashion-mnist")
    except paring.ParingError as error:
        print(f"{error}\nso the demo runs on scikit-learn's digits", file=sys.stderr)
        return HERE / "demo-digits.yaml"
    return HERE / "demo.yaml"


def main(out: Path = Path("runs/demo")) -> paring.Result:
    """Compresses, and prints what came of it."""
    result = paring.compress(recipe(), out=out, progress=Shown())
    console = Console()
    console.print(report.table(result.report))
    console.print(f"artifact: {result.artifacts['litert']}\nreport:   {result.path / 'report.html'}", soft_wrap=True)
    return result


if __name__ == "__main__":
    sys.exit(0 if main().met else 1)
