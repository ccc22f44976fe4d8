"""Grid world: 25 × 25 cells with goals along the upper and lower edge.

From the middle row both are equally good.

Modelled on the grid world of FPO (arXiv 2507.21053). A unimodal policy averages the two ways in the middle row and
stands still; a more expressive policy takes either.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

SIZE = 25  # cells along an edge
REACH = SIZE // 2  # of the coordinates: the middle cell is (0, 0)
MOVES_FROM = 0.5  # cells; a larger command moves the token
GOAL_REWARD = 20.0
DEATH_REWARD = -10.0

_CELL_PX = 16
_COLOURS = {0.0: (245, 243, 238), GOAL_REWARD: (46, 139, 87), DEATH_REWARD: (178, 34, 34)}
_AGENT = (25, 35, 60)


def two_walls() -> NDArray[np.float64]:
    """Return the reward of entering each cell [y, x]: two rows of goals at either end."""
    rewards = np.zeros((SIZE, SIZE))
    rewards[:2] = rewards[-2:] = GOAL_REWARD
    return rewards


def three_goals() -> NDArray[np.float64]:
    """Return the same for three blocks of goals around a penalised block."""
    rewards = np.zeros((SIZE, SIZE))
    for x, y, reward in ((0, 0, DEATH_REWARD), (0, 6, GOAL_REWARD), (-5, -5, GOAL_REWARD), (5, -5, GOAL_REWARD)):
        rewards[y + REACH - 1 : y + REACH + 2, x + REACH - 1 : x + REACH + 2] = reward
    return rewards


LAYOUTS = {"two-walls": two_walls, "three-goals": three_goals}


class GridWorldEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Token on a grid.

    Observation: its cell (x, y), relative to the middle, y upwards. Action: a move along each axis.

    A command beyond half a cell moves the token by one cell; a smaller one does not, and the border stops it.
    Every cell with a reward or a cost ends the episode. `info["success"]` is whether it was a goal. The
    environment has no horizon.

    Args:
        layout: name among `LAYOUTS`.
        start: cell in which every episode starts; by default drawn among the neutral cells.
        render_mode: None or `rgb_array`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - gymnasium's own form

    def __init__(
        self, layout: str = "two-walls", start: tuple[int, int] | None = None, render_mode: str | None = None
    ) -> None:
        self.rewards = LAYOUTS[layout]()
        self.start = start
        self.render_mode = render_mode
        self.observation_space = Box(-REACH, REACH, (2,), np.float32)
        self.action_space = Box(-1, 1, (2,), np.float32)
        self._neutral = np.argwhere(self.rewards == 0)[:, ::-1] - REACH
        self._cell = self._neutral[0]

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode in a neutral cell. Shape (2,)."""
        super().reset(seed=seed)
        self._cell = np.array(self.start) if self.start is not None else self.np_random.choice(self._neutral)
        return self._cell.astype(np.float32), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Step by one move."""
        move = np.rint(np.clip(action, -1, 1)).astype(np.int64)
        self._cell = np.clip(self._cell + move, -REACH, REACH)
        x, y = self._cell + REACH
        reward = float(self.rewards[y, x])
        return self._cell.astype(np.float32), reward, reward != 0, False, {"success": reward > 0}

    def render(self) -> NDArray[np.uint8]:
        """Render the board from above, y upwards. Shape (400, 400, 3)."""
        board = np.zeros((SIZE, SIZE, 3), np.uint8)
        for reward, colour in _COLOURS.items():
            board[self.rewards == reward] = colour
        x, y = self._cell + REACH
        board[y, x] = _AGENT
        pixels = board[::-1].repeat(_CELL_PX, axis=0).repeat(_CELL_PX, axis=1)
        pixels[::_CELL_PX] = pixels[:, ::_CELL_PX] = 215  # lines between the cells
        return pixels
