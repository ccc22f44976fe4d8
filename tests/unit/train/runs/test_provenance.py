"""Provenance: versions, and a hash of all bits of the weights."""

import torch

from odeploy_train.runs.provenance import versions, weights_hash


def test_versions_include_the_packages_that_affect_numbers() -> None:
    made = versions()
    assert made["torch"] == torch.__version__
    assert {"python", "numpy", "mujoco", "gymnasium"} < set(made)


def test_the_hash_of_weights_changes_with_the_last_bit_of_one() -> None:
    layer = torch.nn.Linear(3, 2)
    before = weights_hash(layer)
    assert before == weights_hash(layer)
    with torch.no_grad():
        layer.bias[1] = torch.nextafter(layer.bias[1], torch.tensor(9.0))
    assert weights_hash(layer) != before
