"""Task `mnist1d`: its data against the published file, its hyperparameters in force, and that it learns."""

import numpy as np
import pytest

from hpo.tasks.mnist1d_data import datasets


def test_the_data_are_those_of_the_published_file():
    development, test = datasets()
    assert (development.inputs.shape, test.inputs.shape) == ((4000, 40), (1000, 40))
    # Read from mnist1d_data.pkl of the authors' repository.
    assert development.targets[:5].tolist() == [2, 6, 4, 5, 6]
    published = [-0.33200567, -0.4719105, -0.7786971, -1.009741]
    np.testing.assert_allclose(development.inputs[0, :4], published, atol=1e-6)
    counts = [np.bincount(part.targets).tolist() for part in (development, test)]
    assert counts[0] == [398, 396, 411, 394, 394, 402, 401, 404, 402, 398]
    assert np.sum(counts, axis=0).tolist() == [500] * 10
    both = np.concatenate([development.inputs, test.inputs]).astype(np.float64)
    assert (both.mean(), both.std()) == pytest.approx((0, 1), abs=1e-6)


def test_the_data_are_always_the_same():
    fingerprints = [part.fingerprint for part in datasets()]
    datasets.cache_clear()
    np.random.seed(1)
    assert [part.fingerprint for part in datasets()] == fingerprints
    assert fingerprints == [
        "ef3ad744a950b3c96598e5f9206883e29b82c70242cac9daf31ce8df30afe0d9",
        "6082ce239bb942854e7aacbed799ca31fd7a5e2e229886e260e1c556397a100a",
    ]
