import gzip
import struct

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def cache_home(tmp_path, monkeypatch):
    """No test reads or fills the user's own cache, or finds the user's own data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PARING_DATA", raising=False)
    return tmp_path / "cache" / "paring"


@pytest.fixture
def write_idx():
    """Writes four small IDX files, like MNIST's: image k of a split is filled with the value k."""

    def write(folder, train=48, test=12, classes=10, packed=True, side=28):
        folder.mkdir(parents=True, exist_ok=True)
        for name, count in (("train", train), ("t10k", test)):
            pixels = np.repeat(np.arange(count, dtype=np.uint8), side * side).tobytes()
            labels = (np.arange(count) % classes).astype(np.uint8).tobytes()
            images = struct.pack(">4B3I", 0, 0, 8, 3, count, side, side) + pixels
            for kind, data in (
                ("images-idx3", images),
                ("labels-idx1", struct.pack(">4BI", 0, 0, 8, 1, count) + labels),
            ):
                path = folder / f"{name}-{kind}-ubyte{'.gz' if packed else ''}"
                path.write_bytes(gzip.compress(data) if packed else data)
        return folder

    return write
