"""The deterministic policy in a model that stable-baselines3 or sb3-contrib saved.

Readable fields give the algorithm, the activation and the action's limits; names and shapes of the tensors give
the network. A model with any unknown tensor is refused: a policy that is nearly right moves a robot wrongly.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from odeploy_export.sb3.limits import limits
from odeploy_export.sb3.normaliser import Normaliser
from odeploy_export.sb3.saved_model import SavedModel
from odeploy_runtime.errors import ContractError
from odeploy_runtime.signals import Signal
from odeploy_sim.tasks.task import Task
from odeploy_train.policies.mlp import Activation, MlpConfig, MlpPolicy

_ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)  # without arguments, as sb3 builds them
# A field that only this algorithm has, or only it and those above it.
_FIELDS = {
    "tqc": "top_quantiles_to_drop_per_net",
    "sac": "target_entropy",
    "td3": "policy_delay",
    "ppo": "clip_range",
    "trpo": "cg_max_steps",
    "a2c": "gae_lambda",
}
_CONTRIB = ("tqc", "trpo")


@dataclass(frozen=True)
class _Actor:
    """Where algorithms that share a policy class keep their actor.

    Attributes:
        hidden: prefix of its layers' names.
        last: prefix of the last layer's name; None if it is among the hidden ones.
        unused: prefixes of tensors that a deterministic action does not use.
        activation: default activation.
        squash: whether tanh maps the output onto the limits; otherwise it is clipped to them.
    """

    hidden: str
    last: str | None
    unused: tuple[str, ...]
    activation: Activation
    squash: bool


_GAUSSIAN = _Actor(
    "mlp_extractor.policy_net",
    "action_net",
    ("mlp_extractor.value_net.", "value_net.", "log_std"),
    "Tanh",
    squash=False,
)
_SQUASHED = _Actor(
    "actor.latent_pi", "actor.mu", ("actor.log_std.", "critic.", "critic_target."), "ReLU", squash=True
)
_PLAIN = _Actor("actor.mu", None, ("actor_target.", "critic.", "critic_target."), "ReLU", squash=True)
_ACTORS = {
    "stable_baselines3.common.policies": _GAUSSIAN,
    "stable_baselines3.sac.policies": _SQUASHED,
    "sb3_contrib.tqc.policies": _SQUASHED,
    "stable_baselines3.td3.policies": _PLAIN,
}


def algorithm(model: SavedModel) -> str:
    """Return the algorithm's name in lower case.

    Raises:
        ContractError: an algorithm that cannot be exported.
    """
    _actor(model)
    name = next((name for name, field in _FIELDS.items() if field in model.fields), None)
    if name is None:
        raise _refusal(model, "an algorithm of these", "another one with the same policy class")
    # DDPG is TD3 without delayed actor and target noise
    plain = model.fields.get("policy_delay") == 1 and model.fields.get("target_noise_clip") == 0
    return "ddpg" if name == "td3" and plain else name


def library(model: SavedModel) -> str:
    """Return the library of the algorithm."""
    return "sb3-contrib" if algorithm(model) in _CONTRIB else "stable-baselines3"


def dictionary_keys(model: SavedModel) -> tuple[str, ...] | None:
    """Return the keys of a dictionary observation, in the network's order.

    A flat observation has none: None.

    Raises:
        ContractError: parts that are not flat numbers, such as images.
    """
    space = model.parts("observation_space")
    if not str(space.get(":type:")).endswith(".dict.Dict'>"):
        return None
    text = str(space.get("spaces"))
    keys = tuple(re.findall(r"'(\w+)': ", text))
    flat = re.findall(r"'(\w+)': Box\([^()]*, \(\d+,\), float\d+\)", text)
    wrong = next((key for key in keys if key not in flat), None)
    if wrong is not None or not keys:
        raise _refusal(model, "a dictionary of flat numbers", f"the part {wrong}: {text[:100]}")
    return keys


def trained_normalised(model: SavedModel) -> bool:
    """Return whether training certainly had a VecNormalize.

    The model then stores the original observation. Algorithms with a replay buffer always store it, so nothing is
    known about theirs.
    """
    return _actor(model) is _GAUSSIAN and model.fields.get("_last_original_obs") is not None


def mlp_policy(
    model: SavedModel,
    task: Task,
    normaliser: Normaliser | None,
    actions: Literal["rescaled", "raw"] | None = None,
    places: Sequence[int] | None = None,
) -> MlpPolicy:
    """Return the policy in a model, for a task.

    Args:
        model: the saved model.
        task: task that it was trained on.
        normaliser: its VecNormalize.
        actions: whether limits of ±1 stand for the task's or for robot units; None if not given.
        places: place of each of the network's inputs in the observation, a place perhaps twice; None for the same
            order. Shape (I,).

    Raises:
        UsageError: limits of ±1 where the task has others, and `actions` is not given.
        ContractError: an unknown type of policy, or one for other observations or actions.
    """
    actor, kwargs = _actor(model), model.parts("policy_kwargs")
    algorithm(model)
    spaces = {"action_space": "continuous actions"}
    if places is None or dictionary_keys(model) is None:
        spaces = {"observation_space": "flat observations"} | spaces
    for space, kind in spaces.items():
        found, shape = model.parts(space).get(":type:"), model.parts(space).get("_shape")
        if not str(found).endswith(".box.Box'>") or not isinstance(shape, list) or len(shape) != 1:
            raise _refusal(model, f"{kind}, a Box of one dimension", f"an {space} {found} of shape {shape}")
    if model.fields.get("use_sde"):
        raise _refusal(model, "plain Gaussian noise", "gSDE (use_sde)")
    extractor = str(kwargs.get("features_extractor_class", "FlattenExtractor"))
    if not extractor.split("'")[-2 if "'" in extractor else 0].endswith(("FlattenExtractor", "CombinedExtractor")):
        raise _refusal(model, "no features extractor of its own", extractor)
    layers = _layers(model, actor)
    if places is None:
        _require_size(model, "observations", task.observation, layers[0].in_features, task)
    elif len(places) != layers[0].in_features:
        raise _refusal(model, f"{len(places)} inputs as its observation space has", f"{layers[0].in_features}")
    _require_size(model, "actions", task.action, layers[-1].out_features, task)
    if normaliser is not None and len(normaliser.mean) != layers[0].in_features:
        raise ContractError(
            where=f"the normaliser of {model.path}",
            expected=f"{layers[0].in_features} observations as the network takes",
            got=str(len(normaliser.mean)),
            remedy="give the normaliser that was saved with this model",
        )
    low, high = limits(model, task, actor.squash, actions)
    activation = _activation(model, kwargs.get("activation_fn"), actor.activation)
    policy = MlpPolicy(
        MlpConfig(
            len(task.observation),
            layers[-1].out_features,
            tuple(layer.out_features for layer in layers[:-1]),
            activation,
            normalised=normaliser is not None,
            clip=None if normaliser is None or math.isinf(normaliser.clip) else normaliser.clip,
            squash=actor.squash,
        )
    )
    if actions == "rescaled" and not actor.squash:  # clipped to ±1, then mapped to the limits, which clip too
        half, middle = (high - low).double() / 2, (high + low).double() / 2
        last = layers[-1]
        last.weight.data = (last.weight.double() * half[:, None]).float()
        last.bias.data = (last.bias.double() * half + middle).float()
    if places is not None:  # a signal that the network takes twice has the sum of both weights
        weight = torch.zeros(layers[0].out_features, len(task.observation), dtype=torch.float64)
        weight.index_add_(1, torch.tensor(places), layers[0].weight.data.double())
        bias, layers[0] = layers[0].bias.data, nn.Linear(len(task.observation), layers[0].out_features)
        layers[0].load_state_dict({"weight": weight.float(), "bias": bias})
    order = np.arange(len(task.observation)) if places is None else np.argsort(places)
    for mine, its in zip(policy.layers, layers, strict=True):
        mine.load_state_dict(its.state_dict())
    policy.low, policy.high = low.double(), high.double()
    if normaliser is not None:
        mean, std = (torch.from_numpy(numbers[order]) for numbers in (normaliser.mean, normaliser.std))
        policy.observation_mean, policy.observation_std = mean, std
    return policy


def _refusal(model: SavedModel, expected: str, got: str) -> ContractError:
    return ContractError(
        where=str(model.path),
        expected=f"an MlpPolicy of PPO, A2C, TRPO, SAC, TQC, TD3 or DDPG with {expected}",
        got=got,
        remedy="train one on odeploy_sim.tasks.gym_env.FlatEnv, without gSDE and custom networks",
    )


def _actor(model: SavedModel) -> _Actor:
    module = model.parts("policy_class").get("__module__")
    if module not in _ACTORS:
        raise _refusal(model, "a policy class of these libraries", f"one from the module {module}")
    return _ACTORS[str(module)]


def _require_size(model: SavedModel, what: str, signals: tuple[Signal, ...], size: int, task: Task) -> None:
    if size != len(signals):
        raise ContractError(
            where=str(model.path),
            expected=f"{len(signals)} {what} as task {task.name} has, {signals[0].name} to {signals[-1].name}",
            got=f"a network with {size}",
            remedy="give --task the task that the model was trained on",
        )


def _layers(model: SavedModel, actor: _Actor) -> list[nn.Linear]:
    """Return the actor's linear layers in order.

    Every other tensor must be known to be unused.
    """
    member = re.compile(re.escape(actor.hidden) + r"\.(\d+)\.(?:weight|bias)")
    places = sorted({int(m[1]) for name in model.tensors if (m := member.fullmatch(name))})
    prefixes = [f"{actor.hidden}.{i}" for i in places] + [actor.last] * (actor.last is not None)
    wanted = {f"{prefix}.{part}" for prefix in prefixes for part in ("weight", "bias")}
    unknown = [n for n in model.tensors if n not in wanted and not n.startswith(actor.unused)]
    if unknown:
        raise _refusal(model, "only linear layers", f"also the tensor {unknown[0]}")
    shapes = {name: tuple(model.tensors[name].shape) for name in wanted & model.tensors.keys()}
    weights = [shapes.get(f"{prefix}.weight", ()) for prefix in prefixes]
    biases = [shapes.get(f"{prefix}.bias") for prefix in prefixes]
    alternating = places == list(range(0, 2 * len(places), 2))
    chained = all(len(w) == 2 for w in weights) and all(a[0] == b[1] for a, b in pairwise(weights))
    if not weights or not alternating or not chained or biases != [w[:1] for w in weights]:
        found = ", ".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
        raise _refusal(model, "linear layers and an activation in turn", f"the tensors {found or 'none'}")
    layers = []
    for prefix, (outputs, inputs) in zip(prefixes, weights, strict=True):
        layer = nn.Linear(inputs, outputs)
        layer.load_state_dict({part: model.tensors[f"{prefix}.{part}"] for part in ("weight", "bias")})
        layers.append(layer)
    return layers


def _activation(model: SavedModel, stated: Any, default: Activation) -> Activation:
    match = re.fullmatch(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>", str(stated))
    name = default if stated is None else match[1] if match else str(stated)
    for activation in _ACTIVATIONS:
        if activation == name:
            return activation
    raise _refusal(model, f"one of the activations {', '.join(_ACTIVATIONS)}", name)
