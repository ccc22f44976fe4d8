"""Tables of docs/reference/export.md: policies of other libraries, and the keys that are read."""

from collections.abc import Sequence

from odeploy_export.contract.keys import KEYS

_POLICIES: tuple[tuple[str, str, str], ...] = (
    ("stable-baselines3", "PPO, A2C, SAC, TD3, DDPG with `MlpPolicy`", "`--from sb3`"),
    ("sb3-contrib", "TQC, TRPO with `MlpPolicy`", "`--from sb3`"),
    ("both", "with VecNormalize", "`--normaliser FILE`, or the file beside the model"),
    ("both", "behind FlattenObservation", "`--observation-order sorted`"),
    ("both", "behind RescaleAction", "`--actions rescaled`"),
    ("both", "`MultiInputPolicy`, also with HER", "`--from sb3`; with VecNormalize refused"),
    ("both", "gSDE, frame stacks, layer norm, CrossQ, RecurrentPPO", "refused: export its actor as a module"),
    ("rsl_rl", "actor in a checkpoint", "`--from module`, `--weights model.pt:KEY`"),
    ("rsl_rl", "exported MLP with its normaliser", "`--from onnx` or `torchscript`"),
    ("rsl_rl", "exported LSTM or GRU", "refused: its state is no observation"),
    ("mjlab, Isaac Lab", "ONNX with metadata", "`--from onnx`: metadata become recipe and scale"),
    ("Unitree", "ONNX with `deploy.yaml`", "`--from onnx`, `deploy.yaml` beside it or `--contract FILE`"),
    ("holosoma", "walking policies", "`--from onnx`, `--recipe FILE`"),
    ("holosoma", "motion tracking", "refused: `time_step` moves a motion inside the file"),
    ("torch", "module, also with noise, tuples, dictionaries", "`--from module`, `--output NAME`"),
    ("torch", "ONNX with `p.onnx.data` beside it", "`--from onnx`: sealed into one file"),
    ("any", "several inputs, noise, several outputs", "`--inputs A,B`, `--noise-input Z`, `--output NAME`"),
    ("any", "SAC's network without its tanh", "`--squash tanh`"),
    ("JAX", "any", "export an ONNX file with jax2onnx, then `--from onnx`"),
)
"""Library, policy, and how it is exported or why not."""


def libraries_section() -> str:
    """Return both tables with their headings."""
    keys = [(", ".join(f"`{name}`" for name in key.names), key.becomes, key.libraries) for key in KEYS]
    return "\n".join(
        [
            "## Policies of other libraries",
            "",
            "Where a file shows two possible readings, the export stops until an option chooses one.",
            "",
            *_table(("library", "policy", "how"), _POLICIES),
            "",
            "## Metadata that are read",
            "",
            "From ONNX metadata and from YAML or JSON files (`--contract`). Joints are matched by name. What is",
            "named and cannot be applied stops the export. The manifest's provenance names the source of each",
            "derived part, and keeps unknown keys.",
            "",
            *_table(("keys", "become", "written by"), keys),
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
