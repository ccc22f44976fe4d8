"""Mutated policy files, each loaded in a child process: none crashes it, and none is served.

    python -m tests.faults.mutated_files 4000

Half of them are damaged files, whose fingerprint no longer matches. The others have a recomputed fingerprint, as a
forger would write it; a server that requires signatures rejects them too. ONNX Runtime reads neither.
"""

import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from odeploy_runtime.errors import OdeployError
from odeploy_runtime.inference.onnx_policy import OnnxPolicy
from odeploy_runtime.policy_file.file import FINGERPRINT_KEY, NO_FINGERPRINT, parse, seal
from odeploy_runtime.policy_file.protobuf import metadata_spans
from odeploy_runtime.policy_file.signature import new_pair, read_secret, require_signed, sign
from odeploy_runtime.transport.keys import SIGN_PUBLIC, SIGN_SECRET, write_pair

_BATCH = 500


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return the file with bytes changed, deleted, duplicated or overwritten."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(changed))
        match rng.randrange(4):
            case 0:
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                del changed[place : place + rng.randint(1, 64)]
            case 2:
                changed[place:place] = changed[place : place + rng.randint(1, 64)]
            case _:
                changed[place : place + 8] = rng.randbytes(8)
    return bytes(changed)


def forged(data: bytes) -> bytes:
    """Return the file with a matching fingerprint, if its field can still be found."""
    try:
        start, end = metadata_spans(data, "mutant")[FINGERPRINT_KEY]
        return seal(data[:start] + NO_FINGERPRINT.encode() + data[end:], "mutant")
    except (OdeployError, KeyError):
        return data


def fate(data: bytes, keys: Path) -> str:
    """Return `served`, or which check of a server that requires signatures refused the file."""
    path = Path("mutant.onnx")
    try:
        file = parse(path, data)
    except OdeployError:
        return "refused by its bytes"
    try:
        require_signed(file, keys)
    except OdeployError:
        return "refused by its signature"
    OnnxPolicy(file)
    return "served"


def fates(count: int, policy: Path) -> Counter[str]:
    """Return the fates of `count` mutants, loaded in child processes; a failed child counts as `crashed`."""
    results = Counter[str]()
    for first in range(0, count, _BATCH):
        number = min(_BATCH, count - first)
        command = [
            sys.executable,
            "-m",
            "tests.faults.mutated_files",
            "--child",
            str(policy),
            str(first),
            str(number),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        results.update(done.stdout.splitlines() if done.returncode == 0 else {"crashed": 1})
    return results


def _child(policy: Path, first: int, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder)
        write_pair(keys / f"signer{SIGN_PUBLIC}", keys / f"signer{SIGN_SECRET}", *new_pair())
        signed = sign(policy.read_bytes(), read_secret(keys / f"signer{SIGN_SECRET}"), str(policy))
        if fate(signed, keys) != "served":
            raise SystemExit("the untouched file is refused")
        for seed in range(first, first + number):
            mutant = mutated(signed, random.Random(seed))
            mutant = forged(mutant) if seed % 2 else mutant
            # Recomputing a damaged fingerprint restores the original file.
            print("the same" if mutant == signed else fate(mutant, keys))


def main() -> None:
    """Print the fates of the mutants."""
    if sys.argv[1] == "--child":
        _child(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    from tests.policies import policy_bytes

    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.onnx"
        policy.write_bytes(policy_bytes("maze-medium", "flow"))
        print(dict(fates(int(sys.argv[1]), policy)))


if __name__ == "__main__":
    main()
