"""The DeepMind control suite as gymnasium environments: shimmy's wrapper, named by domain and task.

Shimmy's own ids hide the two in a function, which the description of a data set cannot hold; and where the
physics breaks, dm_control raises, which would end a run instead of an episode.
"""

import math
import warnings
from typing import Any

import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

with warnings.catch_warnings():  # dm_control looks for ways to draw at import; glfw complains without a display
    warnings.simplefilter("ignore")
    from dm_control import suite
    from dm_control.rl.control import PhysicsError
    from shimmy.dm_control_compatibility import DmControlCompatibilityV0

PICTURE_PX = 480  # as gymnasium draws MuJoCo

Observation = dict[str, NDArray[np.float64]]


class SuiteEnv(DmControlCompatibilityV0):  # type: ignore[misc]
    """One task of the suite. Its horizon truncates; nothing terminates, but a simulation that broke.

    Args:
        domain: the robot, as dm_control names it.
        task: what it shall do, as dm_control names it.
        camera_name: of the model's cameras; None for the free one.
        render_mode: as shimmy has it: None, `rgb_array` or `human`.
    """

    def __init__(
        self, domain: str, task: str, camera_name: str | None = None, render_mode: str | None = None
    ) -> None:
        camera = -1 if camera_name is None else camera_name
        view = {"camera_id": camera, "height": PICTURE_PX, "width": PICTURE_PX}
        super().__init__(suite.load(domain, task), render_mode, view)
        EzPickle.__init__(self, domain, task, camera_name, render_mode)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One tick; all NaN, and the last one, where dm_control finds that the physics diverged."""
        try:
            result: tuple[Observation, float, bool, bool, dict[str, Any]] = super().step(action)
        except PhysicsError:
            nothing = {key: np.full(space.shape, math.nan) for key, space in self.observation_space.items()}
            return nothing, math.nan, True, False, {}
        return result
