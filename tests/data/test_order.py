import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paring.core.errors import ParingError
from paring.data.order import Pass, Portion, varied

members = np.arange(100, 150)


def batches(pass_):
    return [portion.indices.tolist() for portion in pass_.portions(members, "here")]


def flat(batches):
    return [sample for batch in batches for sample in batch]


def test_in_order_with_a_last_batch_that_holds_fewer():
    assert batches(Pass(20)) == [list(range(100, 120)), list(range(120, 140)), list(range(140, 150))]


def test_a_limit_keeps_the_first():
    assert flat(batches(Pass(20, limit=30))) == list(range(100, 130))
    assert sorted(flat(batches(Pass(10, limit=30, shuffle=5)))) == list(range(100, 130))


def test_shuffled_batches_are_full_and_follow_the_seed():
    once, again, other = (batches(Pass(20, shuffle=seed)) for seed in (1, 1, 2))
    assert once == again != other
    assert [len(batch) for batch in once] == [20, 20]
    assert len(set(flat(once))) == 40


@given(st.integers(1, 50), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 60))
def test_skipping_goes_on_where_the_pass_stopped(batch_size, skip, shuffle, limit):
    if shuffle is not None and min(limit, 50) < batch_size:
        return
    whole = list(Pass(batch_size, limit, shuffle).portions(members, ""))
    rest = list(Pass(batch_size, limit, shuffle, skip=skip).portions(members, ""))
    assert [(p.number, p.indices.tolist()) for p in rest] == [(p.number, p.indices.tolist()) for p in whole[skip:]]


@given(st.integers(1, 5), st.integers(5, 20), st.one_of(st.none(), st.integers(0, 3)))
def test_shards_share_out_every_batch(processes, batch_size, shuffle):
    whole = batches(Pass(batch_size, shuffle=shuffle))
    shards = [batches(Pass(batch_size, shuffle=shuffle, shard=(index, processes))) for index in range(processes)]
    for number, batch in enumerate(whole):
        shares = [shard[number] for shard in shards if number < len(shard)]
        assert sorted(flat(shares)) == sorted(batch)


def test_a_shuffled_split_that_fills_no_batch_is_no_silent_nothing():
    with pytest.raises(ParingError, match="50 samples do not fill one batch of 64"):
        batches(Pass(64, shuffle=1))


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ParingError, match="cannot be shared by 4"):
        batches(Pass(2, shard=(0, 4)))


@pytest.mark.parametrize("wrong", [Pass(0), Pass(2, shard=(2, 2)), Pass(2, skip=-1), Pass(2, limit=-1)])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match="no such pass"):
        batches(wrong)


images = torch.arange(1, 65, dtype=torch.uint8).reshape(1, 1, 8, 8).repeat(64, 2, 1, 1)


def vary(total=64, number=3, seed=7, shard=(0, 1), shift=2, flip=True):
    share = images[:total][shard[0] :: shard[1]]
    portion = Portion(number, total, np.arange(len(share)))
    return varied(share, shift=shift, flip=flip, seed=seed, portion=portion, shard=shard)


def test_varied_images_are_moved_and_mirrored_and_black_moves_in():
    possible = {}
    padded = torch.nn.functional.pad(images[:1], (2, 2, 2, 2))
    for down in range(5):
        for right in range(5):
            window = padded[0, :, down : down + 8, right : right + 8]
            possible[window.numpy().tobytes()] = (down, right, False)
            possible[window.flip(-1).numpy().tobytes()] = (down, right, True)
    seen = [possible[image.contiguous().numpy().tobytes()] for image in vary()]
    assert {down for down, _, _ in seen} == {right for _, right, _ in seen} == set(range(5))
    assert 16 < sum(mirrored for _, _, mirrored in seen) < 48
    assert vary().dtype == torch.uint8


def test_without_flip_nothing_is_mirrored():
    assert (vary(shift=0, flip=False) == images).all()
    assert not (vary(shift=0, flip=True) == images).all()


def test_chance_follows_seed_and_batch():
    assert (vary() == vary()).all()
    assert not (vary(seed=8) == vary()).all()
    assert not (vary(number=4) == vary()).all()


def test_sharing_a_batch_changes_no_image():
    whole = vary()
    for index in range(3):
        assert (vary(shard=(index, 3)) == whole[index::3]).all()


def test_the_common_generator_is_left_alone():
    before = torch.get_rng_state()
    vary()
    assert (torch.get_rng_state() == before).all()
