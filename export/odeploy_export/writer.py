"""The end of an export: signature, a load as on the robot, then the file."""

from pathlib import Path

import onnx

from odeploy_export.graphs.tracing import to_bytes
from odeploy_runtime.atomic_file import write_whole
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import parse
from odeploy_runtime.policy_file.manifest import Manifest


def write_policy(model: onnx.ModelProto, manifest: Manifest, out: Path, secret: Path | None) -> None:
    """Write a policy file that loads and reproduces its golden rows.

    It is signed if there is a secret key.

    Raises:
        PolicyFileError: it does not; nothing was written.
    """
    data = to_bytes(model, manifest)
    if secret is not None:
        from odeploy_runtime.policy_file.signature import read_secret, sign

        data = sign(data, read_secret(secret), str(out))
    OnnxPolicy(parse(out, data))  # as the robot loads it, before the file exists
    write_whole(out, data)
