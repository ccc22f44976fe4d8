"""Tables of docs/reference/export.md: policies of other libraries, and the keys that are read."""

from collections.abc import Sequence

from odeploy_export.contract.keys import KEYS

_POLICIES: tuple[tuple[str, str, str, str], ...] = (
    ("stable-baselines3", "PPO, A2C, SAC, TD3, DDPG with `MlpPolicy`", "`--from sb3`", "the library"),
    ("sb3-contrib", "TQC, TRPO with `MlpPolicy`", "`--from sb3`", "the library"),
    ("both", "with VecNormalize", "`--normaliser FILE`, or the file beside the model", "the library"),
    ("both", "behind FlattenObservation", "`--observation-order sorted`", "the library"),
    ("both", "behind RescaleAction", "`--actions rescaled`", "the library"),
    ("both", "`MultiInputPolicy`, also with HER", "`--from sb3`; with VecNormalize refused", "the library"),
    (
        "both",
        "gSDE, frame stacks, layer norm, CrossQ, RecurrentPPO",
        "refused: export its actor as a module",
        "no test",
    ),
    ("rsl_rl", "actor in a checkpoint", "`--from module`, `--weights model.pt:KEY`", "a file in its form"),
    ("rsl_rl", "exported MLP with its normaliser", "`--from onnx` or `torchscript`", "no test"),
    ("rsl_rl", "exported LSTM or GRU", "refused: its state is no observation", "no test"),
    (
        "mjlab, Isaac Lab",
        "ONNX with metadata",
        "`--from onnx`: metadata become recipe and scale",
        "a file in its form",
    ),
    (
        "Unitree",
        "ONNX with `deploy.yaml`",
        "`--from onnx`, `deploy.yaml` beside it or `--contract FILE`",
        "a file in its form",
    ),
    ("holosoma", "walking policies", "`--from onnx`, `--recipe FILE`", "the library"),
    ("holosoma", "motion tracking", "refused: `time_step` moves a motion inside the file", "the library"),
    ("torch", "module, also with noise, tuples, dictionaries", "`--from module`, `--output NAME`", "the library"),
    ("torch", "ONNX with `p.onnx.data` beside it", "`--from onnx`: sealed into one file", "the library"),
    (
        "any",
        "several inputs, noise, several outputs",
        "`--inputs A,B`, `--noise-input Z`, `--output NAME`",
        "the library",
    ),
    ("any", "SAC's network without its tanh", "`--squash tanh`", "the library"),
    ("JAX", "any", "export an ONNX file with jax2onnx, then `--from onnx`", "no test"),
)
"""Library, policy, how it is exported or why not, and what a test uses: the library's own files or others."""


def libraries_section() -> str:
    """Return both tables with their headings."""
    keys = [(", ".join(f"`{name}`" for name in key.names), key.becomes, key.libraries) for key in KEYS]
    return "\n".join(
        [
            "## Policies of other libraries",
            "",
            "Where a file shows two possible readings, the export stops until an option chooses one.",
            "",
            *_table(("library", "policy", "how", "tested with"), _POLICIES),
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
