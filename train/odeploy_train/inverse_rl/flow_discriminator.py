"""FM-IRL's teacher (arXiv 2510.09222): a flow over x = [s, a] as discriminator.

The flow has a label c, 1 for the expert, 0 for the agent.

    x_t = (1 - t) x_0 + t x,    L_c(x) = E_{t, x_0} ‖v(x_t, c, t) - (x - x_0)‖² / (O + A)
    D = exp(-L_1) / (exp(-L_1) + exp(-L_0)) = sigmoid(L_0 - L_1)
    teacher's loss: -E_expert[log D] - E_agent[log(1 - D)] + w E_expert[L_1]
    reward: r = log D - log(1 - D) = L_0 - L_1

What it matches better under the expert's label is more likely the expert's. Under that label it also samples the
expert's pairs. It is not a policy: training adds noise to s as well as a, so it has never seen a clean s.

The authors' code draws (t, x_0) separately for each label, which puts the noise of two estimates into their
difference. Here both labels share their draws and several are averaged, with times spread evenly over [0, 1);
`draws=1, shared=False` is theirs. Their network has residual blocks with LayerNorm, 1024 wide. Ours is the plain
velocity network, with sizes by options.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odeploy_train.inverse_rl.classification import Transitions, classification
from odeploy_train.modules.flow_matching import straight_path
from odeploy_train.modules.networks import VelocityNet, initialise
from odeploy_train.modules.ode import EULER, integrate, uniform_grid
from odeploy_train.runs.learning_curve import Info

LOSS_DRAWS = 1  # per tick in the teacher's loss; a gradient step averages over the batch


@dataclass(frozen=True)
class JointFlowConfig:
    """Sizes and weights of FM-IRL's teacher.

    Attributes:
        width: neurons per hidden layer.
        depth: hidden layers.
        draws: draws of (t, x_0) per rewarded tick.
        shared: whether both labels use the same draws.
        flow_weight: weight w of the expert's flow loss.
        bonus: added to every reward; FM-IRL's "airl-positive" has 20, which rewards staying alive.
    """

    width: int
    depth: int
    draws: int
    shared: bool
    flow_weight: float
    bonus: float


class JointFlow(nn.Module):
    """FM-IRL's teacher: discriminator, reward and sampler.

    Args:
        observation_size: O.
        action_size: A.
        config: sizes and weights.
        generator: generator of the initial weights.
    """

    def __init__(
        self, observation_size: int, action_size: int, config: JointFlowConfig, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.observation_size, self.size = observation_size, observation_size + action_size
        # The label takes the place of the observation.
        self.velocity = VelocityNet(1, self.size, config.width, config.depth)
        initialise(self.velocity, generator)
        self.config = config

    def losses(self, x: Tensor, draws: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return L_1 and L_0 of each row. Shapes (M, O + A) -> (M,), (M,)."""
        M, both = len(x), 1 if self.config.shared else 2
        # One time in each of `draws` equal parts of [0, 1), so that a row's average covers the whole path.
        parts = torch.arange(draws)[:, None] + torch.rand(both, draws, M, generator=generator)
        t = (parts / draws).reshape(both, -1).expand(2, -1).reshape(-1)
        x0 = torch.randn(both, draws * M, self.size, generator=generator).expand(2, -1, -1).reshape(-1, self.size)
        label = torch.ones(2, draws * M, 1)
        label[1] = 0
        x_t, target = straight_path(x0, x.repeat(2 * draws, 1), t)
        errors = (self.velocity(label.view(-1, 1), x_t, t) - target).square().mean(-1)
        expert, agent = errors.view(2, draws, M).mean(1)
        return expert, agent

    def loss(self, expert: Transitions, agent: Transitions, generator: torch.Generator) -> tuple[Tensor, Info]:
        """Return the teacher's loss on a batch of each."""
        expert_1, expert_0 = self.losses(expert.pair, LOSS_DRAWS, generator)
        agent_1, agent_0 = self.losses(agent.pair, LOSS_DRAWS, generator)
        loss, info = classification(expert_0 - expert_1, agent_0 - agent_1)
        return loss + self.config.flow_weight * expert_1.mean(), info | {"flow": expert_1.detach().mean()}

    def reward(self, agent: Transitions, generator: torch.Generator) -> Tensor:
        """Return L_0 - L_1 plus the bonus. Shape (M,)."""
        loss_1, loss_0 = self.losses(agent.pair, self.config.draws, generator)
        return loss_0 - loss_1 + self.config.bonus

    @torch.no_grad()
    def sample(self, count: int, steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sample pairs of the expert, by Euler steps from noise with c = 1.

        Shapes (count, O), (count, A).
        """
        label = torch.ones(count, 1)

        def field(t: float, x: Tensor) -> Tensor:
            velocity: Tensor = self.velocity(label, x, torch.full((count,), t))
            return velocity

        x = integrate(field, torch.randn(count, self.size, generator=generator), EULER, uniform_grid(steps))
        return x[:, : self.observation_size], x[:, self.observation_size :]
