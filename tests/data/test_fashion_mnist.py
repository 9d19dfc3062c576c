import io
import os
import stat
import time
from pathlib import Path

import pytest
import torch

import paring.data
from paring.core.errors import ParingError
from paring.data import cache, fashion_mnist
from paring.data.idx import FILES

REAL = fashion_mnist.find()  # looked for before the tests' own cache folder is set; nothing is fetched for a test


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine without the data, without apt and without a network."""
    monkeypatch.setattr(fashion_mnist, "SYSTEM", tmp_path / "system")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    def refuse(url, timeout):
        assert timeout
        raise OSError("no network")

    monkeypatch.setattr(fashion_mnist.urllib.request, "urlopen", refuse)


def places(tmp_path):
    return [
        tmp_path / "data",
        tmp_path / "data" / "fashion-mnist",
        cache.folder() / "fashion-mnist",
        tmp_path / "system",
    ]


@pytest.mark.parametrize("place", range(4))
def test_searches_in_order(nowhere, monkeypatch, tmp_path, write_idx, place):
    monkeypatch.setenv("PARING_DATA", str(tmp_path / "data"))
    for folder in places(tmp_path)[place:]:
        write_idx(folder)
    assert fashion_mnist.find()[FILES[0]].parent == places(tmp_path)[place]
    task = paring.data.open("fashion-mnist")
    assert task.labels[-1] == "Ankle boot"
    assert task.size("test") == 12


def test_a_folder_with_some_of_the_files_is_passed_over(nowhere, monkeypatch, tmp_path, write_idx):
    monkeypatch.setenv("PARING_DATA", str(tmp_path / "data"))
    write_idx(tmp_path / "data")
    (tmp_path / "data" / f"{FILES[0]}.gz").unlink()
    write_idx(tmp_path / "system")
    assert fashion_mnist.find()[FILES[0]].parent == tmp_path / "system"


def test_found_nowhere_names_three_ways(nowhere):
    with pytest.raises(ParingError, match="no network") as caught:
        paring.data.open("fashion-mnist")
    assert "apt-get install dataset-fashion-mnist" in caught.value.remedy
    assert "PARING_DATA" in caught.value.remedy
    assert "https://" in caught.value.remedy


def script(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    "apt",
    [
        'test "$*" = "download dataset-fashion-mnist" && : > dataset_1_all.deb',
        # without package lists it fails until it is given lists of our own, and those are filled first
        """for last; do :; done
case "$*" in download*) exit 100;; *Dir::State::Lists=*) ;; *) exit 1;; esac
case "$last" in update) : > lists/filled;; *) test -f lists/filled && : > dataset_1_all.deb;; esac""",
    ],
    ids=["lists", "no lists"],
)
def test_the_debian_package_is_unpacked_without_installing(apt, nowhere, monkeypatch, tmp_path, write_idx):
    write_idx(tmp_path / "packed")
    script(tmp_path / "bin" / "apt-get", apt)
    inside = "." + str(tmp_path / "system")
    copy = f'test "$1 $3" = "-x ." && test -f "$2" && /bin/mkdir -p {inside} && /bin/cp {tmp_path}/packed/* {inside}'
    script(tmp_path / "bin" / "dpkg", copy)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    assert paring.data.open("fashion-mnist").size("test") == 12
    folder = cache.folder() / "fashion-mnist"
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{name}.gz" for name in FILES)
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith("tmp")] == []


def test_where_apt_fails_the_download_is_tried(nowhere, tmp_path):
    script(tmp_path / "bin" / "apt-get", "exit 100")
    script(tmp_path / "bin" / "dpkg", "exit 1")
    with pytest.raises(ParingError, match=r"exit status 100.*no network"):
        fashion_mnist.fetch()


def serve(monkeypatch, folder, change=lambda data: data):
    asked = []

    def answer(url, timeout):
        asked.append(url)
        return io.BytesIO(change((folder / url.rpartition("/")[2]).read_bytes()))

    monkeypatch.setattr(fashion_mnist.urllib.request, "urlopen", answer)
    return asked


def test_downloads_are_checked_and_kept(nowhere, monkeypatch, tmp_path, write_idx):
    folder = write_idx(tmp_path / "server")
    digest = fashion_mnist.hashlib.md5
    published = {name: digest((folder / f"{name}.gz").read_bytes()).hexdigest() for name in FILES}
    monkeypatch.setattr(fashion_mnist, "MD5", published)
    asked = serve(monkeypatch, folder)
    for _ in range(2):
        assert paring.data.open("fashion-mnist").size("test") == 12
    assert len(asked) == 4
    assert all(url.startswith("https://") for url in asked)


def test_a_download_that_is_not_the_published_file_is_not_kept(nowhere, monkeypatch, tmp_path, write_idx):
    serve(monkeypatch, write_idx(tmp_path / "server"))
    with pytest.raises(ParingError, match="MD5 differs"):
        fashion_mnist.fetch()
    assert fashion_mnist.find() is None
    assert not list(Path(cache.folder() / "fashion-mnist").glob("*"))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    if REAL is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(fashion_mnist, "find", lambda: REAL)
        yield paring.data.open("fashion-mnist")


def test_the_real_set(real):
    assert [real.size(split) for split in paring.core.task.SPLITS] == [55_000, 5_000, 1_024, 10_000]
    assert real.content == "697249e9d1e87d6b2c6a738e828c890264cffecccb13840d472e3585751a5582"
    first = next(real.batches("test", 8)).targets
    assert [real.labels[index] for index in first[:4]] == ["Ankle boot", "Pullover", "Trouser", "Trouser"]


def test_the_real_sets_images_have_mean_0_and_deviation_1(real):
    images = torch.cat([batch.inputs["image"] for batch in real.batches("train", 1000, limit=20_000)])
    assert images.mean().item() == pytest.approx(0, abs=0.02)
    assert images.std().item() == pytest.approx(1, abs=0.02)


def test_calibration_holds_every_class_early(real):
    batch = next(real.batches("calibration", 256))
    assert torch.bincount(batch.targets, minlength=10).min() >= 12


def test_feeding_takes_far_less_than_training(real):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for _ in range(5):
        start = time.thread_time()  # of this thread alone, whatever else the machine does
        count = sum(1 for _ in real.batches("train", 128, limit=128 * 30, shuffle=0, augment=True))
        times.append((time.thread_time() - start) / count)
    torch.set_num_threads(threads)
    assert min(times) < 3e-3
