"""Tracing of a torch module to the deterministic bytes of a policy file."""

import logging
import warnings

import onnx
import torch
from torch import nn

from odeploy_export.graphs.rewrites import narrow_gemms
from odeploy_export.graphs.unsupported import unsupported
from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, MANIFEST_KEY, NO_FINGERPRINT, seal
from odeploy_runtime.policy_file.manifest import Manifest
from odeploy_runtime.typed_json import to_json

OPSET = 18


def trace_graph(module: nn.Module, observation_size: int, noise_shape: tuple[int, int, int]) -> onnx.ModelProto:
    """Trace a module of `observation` (B, O) and perhaps `noise` (B, N, S, D).

    The exporter writes absolute paths of our sources into every node. They are stripped, with everything else that
    running the graph does not need.

    Raises:
        ContractError: an operator that ONNX does not have; the message names it and its layer.
    """
    batch = torch.export.Dim("batch")
    inputs = {"observation": torch.zeros(2, observation_size)}
    if all(noise_shape):
        inputs["noise"] = torch.zeros(2, *noise_shape)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # deprecations inside torch's own exporter
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # that torchvision is not installed
        try:
            program = torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["action"],
                dynamic_shapes={name: {0: batch} for name in inputs},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise unsupported(module, list(inputs.values()), error, OPSET) from None
    assert program is not None
    model = program.model_proto
    narrow_gemms(model)
    _strip(model)
    got = {entry.domain: entry.version for entry in model.opset_import}
    if got.get("") != OPSET:
        raise RuntimeError(f"requested opset {OPSET} from torch, got {got}")
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)  # older ONNX Runtimes load it too
    onnx.checker.check_model(model, full_check=True)
    return model


def to_bytes(model: onnx.ModelProto, manifest: Manifest) -> bytes:
    """Return the policy file: graph, manifest and fingerprint."""
    sealed = onnx.ModelProto()
    sealed.CopyFrom(model)
    onnx.helper.set_model_props(sealed, {MANIFEST_KEY: to_json(manifest), FINGERPRINT_KEY: NO_FINGERPRINT})
    return seal(sealed.SerializeToString(deterministic=True), manifest.name)


def _strip(model: onnx.ModelProto) -> None:
    model.producer_name, model.producer_version, model.doc_string = "odeploy", "", ""
    del model.metadata_props[:]
    graph = model.graph
    graph.name, graph.doc_string = "policy", ""
    del graph.value_info[:]
    del graph.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    values: list[onnx.ValueInfoProto | onnx.TensorProto] = [*graph.input, *graph.output, *graph.initializer]
    for value in values:
        value.doc_string = ""
        del value.metadata_props[:]
