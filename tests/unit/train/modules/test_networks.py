"""Networks: time embedding, public layers, limits and initial weights."""

import math

import pytest
import torch
from torch.nn.functional import silu

from odeploy_train.modules.networks import StudentNet, VelocityNet, initialise, over_states, time_embedding


def test_the_time_embedding_is_cosines_then_sines_at_the_documented_frequencies() -> None:
    embedded = time_embedding(torch.tensor([0.0, 1.0], dtype=torch.float64), 4)
    w0, w1 = math.pi / 2, math.pi / math.sqrt(2)
    expected = [[1, 1, 0, 0], [math.cos(w0), math.cos(w1), math.sin(w0), math.sin(w1)]]
    torch.testing.assert_close(embedded, torch.tensor(expected, dtype=torch.float64))


def test_the_fastest_of_sixteen_time_features_turns_17_8_rad() -> None:
    t = torch.tensor([1e-3], dtype=torch.float64)
    assert time_embedding(t, 16)[0, -1].item() == pytest.approx(math.sin(17.77e-3), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_time_embedding_keeps_the_dtype(dtype: torch.dtype) -> None:
    t = torch.linspace(0, 1, 7, dtype=dtype)
    embedded = time_embedding(t, 16)
    assert (embedded.dtype, embedded.shape) == (dtype, (7, 16))
    torch.testing.assert_close(embedded.double(), time_embedding(t.double(), 16), atol=2e-6, rtol=0)


def test_different_times_have_different_embeddings() -> None:
    embedded = time_embedding(torch.linspace(0, 1, 101, dtype=torch.float64), 16)
    distances = torch.cdist(embedded, embedded) + 10 * torch.eye(101, dtype=torch.float64)
    assert distances.min() > 0.1


def test_the_velocity_is_the_product_of_its_public_layers() -> None:
    net = VelocityNet(3, 2, width=8, depth=3, time_features=4)
    observation, x, t = torch.randn(5, 3), torch.randn(5, 2), torch.rand(5)
    split = torch.split(net.first.weight, [3, 2, 4], dim=1)
    h = observation @ split[0].T + x @ split[1].T + (time_embedding(t, 4) @ split[2].T + net.first.bias)
    for layer in net.hidden:
        h = layer(silu(h))
    torch.testing.assert_close(net(observation, x, t), net.last(silu(h)))
    sizes = [tuple(p.shape) for name, p in net.named_parameters() if name.endswith("weight")]
    assert sizes == [(8, 9), (8, 8), (8, 8), (2, 8)]


@torch.no_grad()
def test_several_rows_of_a_state_are_computed_as_each_alone() -> None:
    net, o, x = VelocityNet(3, 2, width=8), torch.randn(4, 3), torch.randn(4 * 5, 2)
    answer = over_states(net, o, 5, (0.0, 0.3))
    for t in (0.3, 0.0):
        torch.testing.assert_close(answer(t, x), net(o.repeat_interleave(5, dim=0), x, torch.full((20,), t)))


def test_the_student_stays_within_unit_scale_for_extreme_observations() -> None:
    net = StudentNet(3, 2, width=8)
    assert len(net.hidden) == 2
    assert net(1e6 * torch.randn(100, 3)).abs().max() <= 1
    assert net(torch.randn(100, 3)).abs().max() < 1


@pytest.mark.parametrize("options", [{"depth": 0}, {"time_features": 3}, {"time_features": 0}])
def test_impossible_sizes_of_a_velocity_net_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one layer, two features at least"):
        VelocityNet(3, 2, **options)


def test_a_student_without_a_hidden_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="depth 0"):
        StudentNet(3, 2, depth=0)


def test_weights_come_from_the_generator_alone_and_fill_the_usual_range() -> None:
    nets = [VelocityNet(3, 2, width=64) for _ in range(3)]
    for net, seed in zip(nets, (1, 1, 2), strict=True):
        initialise(net, torch.Generator().manual_seed(seed))
    first, same, other = (torch.nn.utils.parameters_to_vector(net.parameters()) for net in nets)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    weight = nets[0].get_parameter("hidden.0.weight").detach()
    assert weight.abs().max().item() == pytest.approx(1 / 8, rel=0.01)
    assert weight.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.05)
