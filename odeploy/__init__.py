"""odeploy: ODE policies, deployed. The public Python API.

Names are imported on first use, so `import odeploy` needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from odeploy_export.pipeline import export_module

__all__ = ["export_module"]

_MODULES = {"export_module": "odeploy_export.pipeline"}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names too."""
    return sorted({*globals(), *__all__})
