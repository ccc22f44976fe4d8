"""Places of a model: sites and bodies, by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odeploy_runtime.errors import FormatError
from odeploy_sim.mjcf.names import require_known

Read = Callable[[], NDArray[np.float64]]


def place(data: Any, name: str | None, where: str) -> NDArray[np.float64]:
    """Return a view of the position of a site, or else of a body [m]. Shape (3,).

    Raises:
        FormatError: no name.
        MissingError: an unknown one.
    """
    model = data.model
    if name is None:
        raise FormatError(where=where, expected="a site or body", got="none", remedy="add its name")
    sites = [model.site(i).name for i in range(model.nsite)]
    if name in sites:
        view: NDArray[np.float64] = data.site(name).xpos
        return view
    bodies = [model.body(i).name for i in range(1, model.nbody)]
    require_known(name, sites + bodies, "site or body", where)
    view = data.body(name).xpos
    return view


def distance(data: Any, of: str | None, to: str | None, where: str) -> Callable[[], float]:
    """Return a function that returns the distance between two places [m]."""
    one, other = place(data, of, f"{where}.of"), place(data, to, f"{where}.to")
    return lambda: float(np.linalg.norm(one - other))
