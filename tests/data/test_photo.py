import numpy as np
import pytest

from paring.core.errors import ParingError

Image = pytest.importorskip("PIL.Image")

from paring.data import photo  # noqa: E402


def picture(width=40, height=30, color=(200, 100, 50)):
    return Image.new("RGB", (width, height), color)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_8_bit_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / "a.png"
    picture(color=(255, 255, 255)).convert(mode).save(path)
    photo.check(path)
    pixels = photo.pixels(path, 16)
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert pixels.min() >= 254


def test_the_largest_square_in_the_middle(tmp_path):
    wide = picture(90, 30, (255, 0, 0))
    wide.paste((0, 255, 0), (30, 0, 60, 30))
    wide.save(tmp_path / "a.png")
    assert (photo.pixels(tmp_path / "a.png", 15)[:, 1:-1] == (0, 255, 0)).all()  # the filter smooths the rim


def test_turned_as_the_camera_was_held(tmp_path):
    image = picture(30, 30, (255, 0, 0))
    image.paste((0, 255, 0), (0, 0, 30, 15))  # green above
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "a.png", exif=exif)
    pixels = photo.pixels(tmp_path / "a.png", 30)
    assert tuple(pixels[2, 15]) == (255, 0, 0)
    assert tuple(pixels[27, 15]) == (0, 255, 0)


def gray16(path):
    Image.fromarray(np.full((30, 40), 40_000, np.uint16)).save(path.with_suffix(".png"))


def rgb16(path):
    """A 16-bit RGB PNG, which Pillow reads but does not write."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(8 * 6) for _ in range(8))
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.with_suffix(".png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def floats(path):
    Image.fromarray(np.ones((8, 8), np.float32)).save(path.with_suffix(".tiff"))


def cmyk(path):
    picture().convert("CMYK").save(path.with_suffix(".jpg"))


def lab(path):
    picture().convert("LAB").save(path.with_suffix(".tiff"))


@pytest.mark.parametrize(
    ("make", "problem"),
    [(gray16, "8 bits"), (rgb16, "8 bits"), (floats, "8 bits"), (cmyk, "CMYK"), (lab, "LAB")],
)
def test_modes_without_one_way_to_rgb_are_refused_by_their_header(tmp_path, make, problem):
    make(tmp_path / "a")
    (path,) = tmp_path.iterdir()
    with pytest.raises(ParingError, match=problem) as caught:
        photo.check(path)
    assert caught.value.where == str(path)
    assert "convert" in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"some text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_image_is_refused_by_its_header(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ParingError, match="cannot be read as an image") as caught:
        photo.check(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_truncated_pixels_are_refused_when_decoded(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ParingError, match="cannot be read as an image") as caught:
        photo.pixels(path, 16)
    assert caught.value.where == str(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ParingError, match=r"gone\.png"):
        photo.pixels(tmp_path / "gone.png", 16)
