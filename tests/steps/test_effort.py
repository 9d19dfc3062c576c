"""How many samples a cut looks at."""

from paring.steps import effort


def test_large_networks_are_looked_at_with_few_samples():
    assert effort.samples(effort.SCAN, 1e3, 10, 8, 256) == 256
    assert effort.samples(effort.SCAN, 6e6, 100, 8, 256) == 50
    assert effort.samples(effort.SCAN, 3e8, 100, 8, 256) == 8
    assert (effort.batch(1e3), effort.batch(3e8), effort.batch(1e11)) == (64, 6, 2)
