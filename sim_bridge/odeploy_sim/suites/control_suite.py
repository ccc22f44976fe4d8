"""The DeepMind control suite as gymnasium environments, by shimmy's wrapper.

Shimmy's own ids hide domain and task in a function, which cannot be stored in a dataset's description. And where
the physics diverges, dm_control raises, which would end a run instead of an episode.
"""

import math
import warnings
from typing import Any

import numpy as np
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

with warnings.catch_warnings():  # dm_control looks for renderers at import, and glfw warns without a display
    warnings.simplefilter("ignore")
    from dm_control import suite
    from dm_control.rl.control import PhysicsError
    from shimmy.dm_control_compatibility import DmControlCompatibilityV0

PICTURE_PX = 480  # the size of gymnasium's MuJoCo pictures

Observation = dict[str, NDArray[np.float64]]


class SuiteEnv(DmControlCompatibilityV0):  # type: ignore[misc]
    """A task of the suite.

    Its horizon truncates an episode; only a broken simulation terminates one.

    Args:
        domain: dm_control's name of the robot.
        task: dm_control's name of its task.
        camera_name: camera of the model; None for the free one.
        render_mode: shimmy's render mode: None, `rgb_array` or `human`.
    """

    def __init__(
        self, domain: str, task: str, camera_name: str | None = None, render_mode: str | None = None
    ) -> None:
        camera = -1 if camera_name is None else camera_name
        view = {"camera_id": camera, "height": PICTURE_PX, "width": PICTURE_PX}
        super().__init__(suite.load(domain, task), render_mode, view)
        EzPickle.__init__(self, domain, task, camera_name, render_mode)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Step by one tick.

        If dm_control finds that the physics diverged, end with an observation of NaN.
        """
        try:
            result: tuple[Observation, float, bool, bool, dict[str, Any]] = super().step(action)
        except PhysicsError:
            nothing = {key: np.full(space.shape, math.nan) for key, space in self.observation_space.items()}
            return nothing, math.nan, True, False, {}
        return result
