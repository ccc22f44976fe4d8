"""The zip of stable-baselines3's `model.save`, read without running it.

`data` is JSON. Other objects are pickled inside it, beside parts of them as text; only the text is read.
`policy.pth` has tensors, which torch loads without running a pickle's code.
"""

import hashlib
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from odeploy_runtime.errors import FormatError
from odeploy_runtime.regular_file import read_data


@dataclass(frozen=True)
class SavedModel:
    """Contents of a zip, not yet checked.

    Attributes:
        path: path of the zip.
        fields: fields of the algorithm, by name.
        tensors: tensors of its policy, by name.
        hash: SHA-256 of the zip.
        versions: versions of the packages of its training, as stored in the zip.
    """

    path: Path
    fields: dict[str, Any]
    tensors: dict[str, Tensor]
    hash: str
    versions: dict[str, str]

    def parts(self, field: str) -> dict[str, Any]:
        """Return the readable parts of a field that is an object; `:type:` is its class."""
        value = self.fields.get(field)
        return value if isinstance(value, dict) else {}


def read_zip(path: Path) -> SavedModel:
    """Read a saved model.

    Raises:
        MissingError: no such file.
        FormatError: a damaged file or another format.
    """
    content = read_data(
        path, "a model that stable-baselines3 saved", "give the path of the zip that model.save wrote"
    )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            fields = json.loads(file.read("data"))
            tensors = torch.load(io.BytesIO(file.read("policy.pth")), map_location="cpu", weights_only=True)
            info = file.read("system_info.txt").decode() if "system_info.txt" in file.namelist() else ""
        if not isinstance(fields, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
            raise ValueError("no fields or no tensors in it")
    except Exception as error:  # noqa: BLE001 - zip, JSON and torch raise a dozen kinds for a damaged file
        reason = str(error).splitlines()[0][:100] if str(error) else ""
        raise FormatError(
            where=str(path),
            expected="a model that stable-baselines3 saved: a zip with data and policy.pth",
            got=f"a file that does not load ({type(error).__name__}: {reason})",
            remedy="copy the file again, or save the model again",
        ) from None
    versions = {name.lower(): version for name, version in re.findall(r"^- ([\w-]+): (\d\S*)$", info, re.M)}
    return SavedModel(path, fields, dict(tensors), hashlib.sha256(content).hexdigest(), versions)
