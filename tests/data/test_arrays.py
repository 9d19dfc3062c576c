import numpy as np
import pytest
import torch

from paring.core.errors import ParingError
from paring.data.arrays import Arrays, Fit, Stored


@pytest.fixture
def stored(tmp_path):
    values = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    path = tmp_path / "raw"
    path.write_bytes(b"header" + values.tobytes())
    return values, Stored(path, 6, (5, 4, 4), np.dtype(np.uint8))


def test_rows_come_from_their_place_in_the_file(stored):
    values, array = stored
    assert len(array) == 5
    assert (array[np.array([4, 0])] == values[[4, 0]]).all()


def test_a_file_that_vanished_is_named(stored):
    _, array = stored
    array.path.unlink()
    with pytest.raises(ParingError, match="changed or removed"):
        array[np.array([0])]


def test_a_file_that_shrank_is_named(stored):
    _, array = stored
    array.path.write_bytes(b"short")
    with pytest.raises(ParingError, match="changed or removed"):
        array[np.array([0])]


@pytest.mark.parametrize(("layout", "shape"), [("NHWC", (6, 4, 5, 3)), ("NCHW", (6, 3, 4, 5)), ("NHW", (6, 4, 5))])
def test_every_layout_becomes_nchw(layout, shape):
    values = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    arrays = Arrays((values,), layout, Fit((4, 5), "none"))
    (images,) = arrays.stream([np.array([2, 5])])
    expected = {"NHWC": values.transpose(0, 3, 1, 2) if values.ndim == 4 else None, "NCHW": values}.get(layout)
    expected = values[:, None] if expected is None else expected
    assert arrays.channels == expected.shape[1]
    assert (images.numpy() == expected[[2, 5]]).all()


def test_several_parts_count_as_one():
    parts = [np.full((count, 2, 2), fill, np.uint8) for fill, count in ((1, 3), (2, 2))]
    arrays = Arrays(parts, "NHW", Fit((2, 2), "none"))
    batches = arrays.stream([np.array([2, 0]), np.array([3]), np.array([4, 1])])
    assert [images[:, 0, 0, 0].tolist() for images in batches] == [[1, 1], [2], [2, 1]]


def test_floats_become_float32():
    arrays = Arrays((np.ones((2, 4, 4)),), "NHW", Fit((4, 4), "none"))
    assert next(iter(arrays.stream([np.array([0])]))).dtype == torch.float32


def test_a_little_larger_is_padded_and_much_larger_is_resized():
    padded, resized = Fit.of((28, 28), 32, "here"), Fit.of((8, 8), 32, "here")
    assert (padded.how, resized.how, Fit.of((28, 28), 28, "here").how) == ("pad", "bilinear", "none")
    image = torch.full((1, 1, 28, 28), 9, dtype=torch.uint8)
    assert padded(image).shape == (1, 1, 32, 32)
    assert padded(image)[0, 0, 2:30, 2:30].eq(9).all()
    assert padded(image).sum() == image.sum()
    ramp = torch.arange(8, dtype=torch.uint8).mul(30).repeat(1, 1, 8, 1)
    large = resized(ramp)
    assert large.dtype == torch.uint8
    assert large.shape == (1, 1, 32, 32)
    assert large[0, 0, 16].long().diff().ge(0).all()
    assert (large.min(), large.max()) == (0, 210)


def test_sizes_that_would_distort_are_refused():
    with pytest.raises(ParingError, match="distort"):
        Fit.of((28, 20), 32, "here")
