"""Parity of a choice: wrong candidates, values and choices are refused by name, ties are counted."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch

from odeploy_export.graphs.best_of_n import OUTPUTS
from odeploy_export.graphs.rewrites import name_outputs
from odeploy_export.graphs.tracing import trace_graph
from odeploy_export.parity.candidates import Chosen, Proposals, measure_choice
from odeploy_export.parity.check import BATCHES
from odeploy_export.parity.deviation import TOLERANCE, Allowed
from odeploy_runtime.errors import ParityError
from odeploy_runtime.inference.onnx_policy import open_session
from odeploy_runtime.policy_file.manifest import Noise, Parity, Sampler
from odeploy_sim.catalogue.locomotion import HOPPER
from odeploy_train.modules.ode import SOLVERS, solver, uniform_grid
from odeploy_train.policies.best_of_n import BestOfN
from tests.best_of_n import best_of_n
from tests.exports import best_of_n_graph, checked, rows_of
from tests.policies import recorded
from tests.thorough import mostly_thorough

NOISE = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)  # draw (row, i) is 3 row + i
ACTIONS = NOISE[..., 0].astype(np.float64) / 10
VALUES = np.array([[0.0, 2.0, 1.0], [4.0, -3.0, 4.0 - 1e-6]])
EXACT = Proposals(ACTIONS, VALUES)


def graph(choice: tuple[int, int], value_error: float = 0.0, action_error: float = 0.0) -> Callable[..., Chosen]:
    """Return a fake graph that makes this choice, with these errors at candidate 2."""

    def run(noise: np.ndarray, batch: int) -> Chosen:
        single = len(np.unique(noise[0])) == 1
        index = np.zeros(2, np.int64) if single else np.array(choice)
        draw = noise[np.arange(2), index, 0, 0].astype(int)
        wrong = draw % 3 == 2
        action = ACTIONS.reshape(-1)[draw] + action_error * wrong
        return Chosen(action[:, None], VALUES.reshape(-1)[draw] + value_error * wrong, index)

    return run


def measure(run: Callable[..., Chosen], tolerance: float = 1e-5) -> tuple[float, int]:
    return measure_choice(run, [EXACT], NOISE, (1, 3), Allowed(np.ones(1), ["signal a"], tolerance, "f"))


def test_the_same_choice_has_no_ties() -> None:
    assert measure(graph((1, 0))) == (0.0, 0)


def test_another_choice_of_equal_value_is_a_tie() -> None:
    assert measure(graph((1, 2))) == (0.0, 1)


def test_a_worse_choice_is_refused_with_both_values() -> None:
    with pytest.raises(
        ParityError, match="f, row 0 at batch 1, the choice: expected candidate 1 of value 2, got "
    ):
        measure(graph((2, 0)))
    with pytest.raises(ParityError, match=r"row 1 .* expected candidate 0 of value 4, got candidate 2"):
        measure(graph((1, 2)), tolerance=1e-7)


def test_a_wrong_candidate_is_refused_although_it_is_never_chosen() -> None:
    with pytest.raises(ParityError, match="row 0 of candidate 2 at batch 3, signal a: "):
        measure(graph((1, 0), action_error=1e-3))
    with pytest.raises(ParityError, match="of candidate 2 at batch 3, value: "):
        measure(graph((1, 0), value_error=1e-3))


def test_deviations_of_values_are_relative_to_the_largest_value() -> None:
    deviation, _ = measure(graph((1, 0), value_error=2e-5))
    assert deviation == pytest.approx(2e-5 / 4)


def session(policy: BestOfN, sampler: Sampler) -> ort.InferenceSession:
    traced = best_of_n_graph(policy, solver(sampler.solver), sampler.t_grid, sampler.candidates)
    model = trace_graph(traced, 11, (sampler.candidates, 1, 3))
    name_outputs(model, OUTPUTS)
    return open_session(model.SerializeToString(), "cpu", "graph", rows=sampler.candidates)


def parity_of(policy: BestOfN, against: BestOfN, sampler: Sampler, noise: Noise) -> Parity:
    rows = rows_of(against, recorded(HOPPER), noise)
    return checked(session(policy, sampler), against, sampler, rows, HOPPER.action, "graph")


@pytest.mark.parametrize("name", mostly_thorough(SOLVERS))
def test_every_solver_passes_at_full_width(name: str) -> None:
    policy, sampler = best_of_n(HOPPER, width=256), Sampler(name, 1, uniform_grid(1), 4)
    parity = parity_of(policy, policy, sampler, Noise("normal", (4, 1, 3)))
    assert parity.max_error <= TOLERANCE
    assert (parity.batches, parity.ties) == (BATCHES, 0)


def test_without_noise_identical_candidates_pass() -> None:
    policy, sampler = best_of_n(HOPPER), Sampler("euler", 1, uniform_grid(1), 3)
    assert parity_of(policy, policy, sampler, Noise("zero", (3, 1, 3))).max_error <= TOLERANCE


def _one_critic(policy: BestOfN) -> None:
    policy.critics[1].load_state_dict(policy.critics[0].state_dict())


def _critics_without_a_normaliser(policy: BestOfN) -> None:
    first = policy.critics[0][0]  # type: ignore[index]
    first.weight.data[:, :11] *= policy.observation_std


def _another_flow(policy: BestOfN) -> None:
    policy.flow.velocity.last.weight.data *= -1


@pytest.mark.parametrize("fault", mostly_thorough([_one_critic, _critics_without_a_normaliser, _another_flow]))
def test_another_policy_is_refused(fault: Callable[[BestOfN], None]) -> None:
    policy, wrong, sampler = best_of_n(HOPPER), best_of_n(HOPPER), Sampler("euler", 1, uniform_grid(1), 3)
    with torch.no_grad():
        fault(wrong)
    with pytest.raises(ParityError, match=r"row \d+ of candidate 0 at batch 8, (signal|value)"):
        parity_of(wrong, policy, sampler, Noise("normal", (3, 1, 3)))
