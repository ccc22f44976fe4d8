"""Names for a traced graph's outputs beyond `action`, which the exporter calls after its own nodes."""

from collections.abc import Sequence

import onnx


def name_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Renames the outputs in place, in order, with every use of them.

    Raises:
        ValueError: the graph has another number of outputs.
    """
    graph = model.graph
    new = {output.name: name for output, name in zip(graph.output, names, strict=True)}
    for node in graph.node:
        for values in (node.input, node.output):
            for i, value in enumerate(values):
                values[i] = new.get(value, value)
    for output in graph.output:
        output.name = new[output.name]
