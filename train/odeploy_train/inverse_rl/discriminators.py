"""The discriminators of GAIL, AIRL, WAIL and VAIL."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_train.inverse_rl.classification import RewardForm, Transitions, accuracy, classification, reward_of
from odeploy_train.modules.networks import initialise, mlp
from odeploy_train.runs.learning_curve import Info


class Gail(nn.Module):
    """GAIL (arXiv 1606.03476): f is an MLP of (s, a).

    The paper's reward is `positive`.

    Args:
        observation_size: O.
        action_size: A.
        widths: neurons of the hidden layers, tanh.
        form: form of the reward.
        generator: generator of the initial weights.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        widths: tuple[int, ...],
        form: RewardForm,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.score = _scorer(observation_size + action_size, widths, generator)
        self.form: RewardForm = form

    def loss(self, expert: Transitions, agent: Transitions, _generator: torch.Generator) -> tuple[Tensor, Info]:
        """Return the classification loss."""
        return classification(self.score(expert.pair).squeeze(-1), self.score(agent.pair).squeeze(-1))

    def reward(self, agent: Transitions, _generator: torch.Generator) -> Tensor:
        """Return the reward of the chosen form."""
        return reward_of(self.score(agent.pair).squeeze(-1), self.form)


class Airl(nn.Module):
    """AIRL (arXiv 1710.11248): D = e^f / (e^f + π), with reward g and potential h.

        f(s, a, s') = g(s, a) + γ h(s') - h(s),    logit = f - log π(a|s),    r = log D - log(1 - D) = logit

    The potential of an ended episode is 0, so over an episode the h sum to -h(s_0) and cannot change the optimum.
    The expert's ticks cannot determine how g compares with the 0 after an end: such methods are at their best
    where all episodes are equally long. A tick with `ended` is left out of the loss, since demonstrations do not
    hold the observation after their last action.

    Unlike other methods it sees actions as sampled, not as executed: π is their density. At an action clipped to a
    limit this density is not π's; on a bandit the student settled wide and beyond the expert.

    Args:
        observation_size: O.
        action_size: A.
        widths: neurons of the hidden layers of g and h, tanh.
        state_only: whether g sees s alone, which transfers to other dynamics.
        discount: γ.
        log_density: log π of the student, (M, O), (M, A) -> (M,).
        generator: generator of the initial weights.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        widths: tuple[int, ...],
        state_only: bool,
        discount: float,
        log_density: Callable[[Tensor, Tensor], Tensor],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.state_only, self.discount, self._log_density = state_only, discount, log_density
        self.g = _scorer(observation_size + (0 if state_only else action_size), widths, generator)
        self.h = _scorer(observation_size, widths, generator)

    def f(self, t: Transitions) -> Tensor:
        """Return the shaped reward. Shape (M,)."""
        seen = t.observation if self.state_only else torch.cat([t.observation, t.action], dim=-1)
        g: Tensor = self.g(seen).squeeze(-1)
        after: Tensor = self.h(t.following).squeeze(-1) * (1 - t.ended)
        before: Tensor = self.h(t.observation).squeeze(-1)
        return g + self.discount * after - before

    def loss(self, expert: Transitions, agent: Transitions, _generator: torch.Generator) -> tuple[Tensor, Info]:
        """Return the classification loss of ticks with a known successor."""
        return classification(self._logit(_known(expert)), self._logit(_known(agent)))

    def reward(self, agent: Transitions, _generator: torch.Generator) -> Tensor:
        """Return f - log π: the reward with its entropy bonus."""
        return self._logit(agent)

    def _logit(self, t: Transitions) -> Tensor:
        with torch.no_grad():  # π is a constant here, though it depends on the student's weights
            log_density = self._log_density(t.observation, t.action)
        return self.f(t) - log_density


class Wail(nn.Module):
    """WAIL (arXiv 1906.08113), with WGAN-GP's gradient penalty (arXiv 1704.00028).

        L = E_agent[f] - E_expert[f] + λ E[(‖∇f(x̂)‖ - 1)²],    x̂ on lines between ticks of both,    r = f

    f is no logit. The `accuracy` is that of a threshold halfway between the two means.

    Args:
        observation_size: O.
        action_size: A.
        widths: neurons of the hidden layers, tanh.
        penalty: λ.
        generator: generator of the initial weights.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        widths: tuple[int, ...],
        penalty: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.score, self.penalty = _scorer(observation_size + action_size, widths, generator), penalty

    def loss(self, expert: Transitions, agent: Transitions, generator: torch.Generator) -> tuple[Tensor, Info]:
        """Return the penalty minus the Wasserstein distance."""
        of_expert, of_agent = self.score(expert.pair).squeeze(-1), self.score(agent.pair).squeeze(-1)
        distance = of_expert.mean() - of_agent.mean()
        penalty = gradient_penalty(self.score, expert.pair, agent.pair, generator)
        middle = (of_expert.mean() + of_agent.mean()) / 2
        info = {
            "accuracy": accuracy(of_expert - middle, of_agent - middle),
            "distance": distance.detach(),
            "penalty": penalty.detach(),
        }
        return self.penalty * penalty - distance, info

    def reward(self, agent: Transitions, _generator: torch.Generator) -> Tensor:
        """Return the critic's value."""
        score: Tensor = self.score(agent.pair).squeeze(-1)
        return score


def gradient_penalty(score: nn.Module, expert: Tensor, agent: Tensor, generator: torch.Generator) -> Tensor:
    """Return E[(‖∇ score(x̂)‖ - 1)²], one x̂ on the line between each pair of rows.

    Shapes (M, X), (M, X).
    """
    u = torch.rand(len(expert), 1, generator=generator)
    x = (u * expert + (1 - u) * agent).requires_grad_()
    (gradient,) = torch.autograd.grad(score(x).sum(), x, create_graph=True)
    excess: Tensor = gradient.norm(dim=-1) - 1
    return excess.square().mean()


@dataclass(frozen=True)
class Bottleneck:
    """VAIL's information bottleneck.

    Attributes:
        size: size of the code z.
        information: I_c [nat].
        dual_step: α_β.
    """

    size: int
    information: float
    dual_step: float


class Vail(nn.Module):
    """VAIL (arXiv 1810.00821): f is linear in a code z of bounded information.

        L = classification of z + β (E[KL(E(z|x) ‖ N(0, I))] - I_c),    β ← max(0, β + α_β (E[KL] - I_c))

    E[KL] is over expert and agent in equal shares. The reward is that of z's mean; the paper's is `positive`.

    Args:
        observation_size: O.
        action_size: A.
        widths: neurons of the encoder's hidden layers, tanh.
        bottleneck: code z with I_c and α_β.
        form: form of the reward.
        generator: generator of the initial weights.
    """

    beta: Tensor

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        widths: tuple[int, ...],
        bottleneck: Bottleneck,
        form: RewardForm,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.encoder = mlp((observation_size + action_size, *widths, 2 * bottleneck.size), nn.Tanh)
        self.last = nn.Linear(bottleneck.size, 1)
        initialise(self, generator)
        self.bottleneck = bottleneck
        self.form: RewardForm = form
        self.register_buffer("beta", torch.zeros(()))

    def loss(self, expert: Transitions, agent: Transitions, generator: torch.Generator) -> tuple[Tensor, Info]:
        """Return the Lagrangian; each call also takes one dual step of β."""
        mean, log_variance = self.encoder(torch.cat([expert.pair, agent.pair])).chunk(2, dim=-1)
        z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator)
        of_expert, of_agent = self.last(z).squeeze(-1).split([len(expert), len(agent)])
        kl = (mean.square() + log_variance.exp() - log_variance - 1).sum(-1) / 2
        kl = (kl[: len(expert)].mean() + kl[len(expert) :].mean()) / 2
        loss, info = classification(of_expert, of_agent)
        loss = loss + self.beta * (kl - self.bottleneck.information)
        excess = kl.detach() - self.bottleneck.information
        self.beta = (self.beta + self.bottleneck.dual_step * excess).clamp(min=0)
        return loss, info | {"information": kl.detach(), "beta": self.beta}

    def reward(self, agent: Transitions, _generator: torch.Generator) -> Tensor:
        """Return the reward of the chosen form, at the code's mean."""
        mean, _ = self.encoder(agent.pair).chunk(2, dim=-1)
        return reward_of(self.last(mean).squeeze(-1), self.form)


def _scorer(size: int, widths: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    network = mlp((size, *widths, 1), nn.Tanh)
    initialise(network, generator)
    return network


def _known(t: Transitions) -> Transitions:
    return t.take((t.ended == 0).nonzero().squeeze(-1))
