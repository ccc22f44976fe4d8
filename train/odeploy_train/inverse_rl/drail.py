"""DRAIL (arXiv 2405.16194): a conditional diffusion model as discriminator.

As in section 4 of the paper: one denoiser over x = [s, a] with a label c, 1 for the expert and 0 for the agent.
What it denoises better under the expert's label is more likely the expert's:

    L_c(x) = E_{k, ε} ‖φ(√ᾱ_k x + √(1 - ᾱ_k) ε, k, c) - ε‖² / (O + A),
    D = exp(-L_1) / (exp(-L_1) + exp(-L_0)) = sigmoid(L_0 - L_1)

It is trained as a classifier; the paper's reward log D - log(1 - D) = L_0 - L_1 has either sign. Unlike the
paper's code, both labels share their draws (k, ε), which removes most of the noise from the difference; several
draws can be averaged; and the step is embedded by sines.
"""

import torch
from torch import Tensor, nn

from odeploy_train.inverse_rl.classification import RewardForm, Transitions, classification, reward_of
from odeploy_train.modules.ddpm import cosine, noised
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.runs.learning_curve import Info


class Drail(nn.Module):
    """Diffusion discriminator.

    Args:
        observation_size: O.
        action_size: A.
        width: neurons per hidden layer of the denoiser.
        depth: hidden layers.
        steps: noise steps.
        draws: draws of (k, ε) per tick.
        form: form of the reward.
        generator: generator of the initial weights.
    """

    alpha_bar: Tensor

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        width: int,
        depth: int,
        steps: int,
        draws: int,
        form: RewardForm,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        size = observation_size + action_size
        self.denoiser = VelocityNet(1, size, width, depth)  # the label takes the place of the observation
        initialise(self.denoiser, generator)
        self.draws = draws
        self.form: RewardForm = form
        self.register_buffer("alpha_bar", torch.tensor(cosine(steps).alpha_bar))

    def losses(self, x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return L_1 and L_0 of each row, with the same draws.

        Shapes (M, O + A) -> (M,), (M,).
        """
        T, rows = len(self.alpha_bar) - 1, x.repeat(self.draws, 1)
        k = torch.randint(1, T + 1, (len(rows),), generator=generator)
        epsilon = torch.randn(rows.shape, generator=generator)
        x_k, t, label = noised(rows, epsilon, self.alpha_bar[k][:, None]), 1 - k / T, torch.ones(len(rows), 1)
        predicted = self.denoiser(torch.cat([label, 0 * label]), x_k.repeat(2, 1), t.repeat(2))
        errors = (predicted - epsilon.repeat(2, 1)).square().mean(-1)
        expert, agent = errors.view(2, self.draws, len(x)).mean(1)
        return expert, agent

    def loss(self, expert: Transitions, agent: Transitions, generator: torch.Generator) -> tuple[Tensor, Info]:
        """Return the classification loss; the figures have the expert's denoising loss."""
        expert_1, expert_0 = self.losses(expert.pair, generator)
        agent_1, agent_0 = self.losses(agent.pair, generator)
        loss, info = classification(expert_0 - expert_1, agent_0 - agent_1)
        return loss, info | {"denoising": expert_1.detach().mean()}

    def reward(self, agent: Transitions, generator: torch.Generator) -> Tensor:
        """Return the reward of the chosen form, of the logit L_0 - L_1."""
        loss_1, loss_0 = self.losses(agent.pair, generator)
        return reward_of(loss_0 - loss_1, self.form)
