"""A finished run, handed over: its bundles for Linux and Python, verified, and the Python one used as an app would.

From the repository, after `paring compress examples/demo-digits.yaml --out runs/digits`:

    python examples/bundle.py runs/digits
"""

import importlib
import sys
from pathlib import Path

import numpy as np

from paring import api


def main(run: Path) -> list[str]:
    """Writes `run/bundles/`, and gives the labels of the golden images."""
    for platform in ("linux", "python"):
        found = api.verify(api.bundle(run, platform))
        assert found.good, found.faults
        for one in found.replays:
            print(f"{platform}: {one.target} in {one.runtime}, {one.apart:.3g} apart, at most {one.tolerance:.3g}")

    shipped = run / "bundles" / "python"  # from here on nothing is paring's
    sys.path.insert(0, str(shipped / "python"))
    sys.dont_write_bytecode = True  # `paring verify` tells of every file that is not the bundle's own
    module = importlib.import_module(next((shipped / "python").glob("pared_*.py")).stem)
    pixels = np.fromfile(shipped / "golden" / "raw.bin", np.uint8).reshape(-1, 8, 8, 1)
    labels: list[str] = module.Model("litert").classify(module.preprocess(pixels))
    print("labels:", *labels)
    return labels


if __name__ == "__main__":
    main(Path(sys.argv[1]))
