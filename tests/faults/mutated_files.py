"""Mutated policy files, each loaded in a child process: none crashes it, and none gets to give an action.

    python -m tests.faults.mutated_files 4000

Half of them are files that were damaged: their fingerprint no longer fits. The others come from a forger who
made it fit; to a server that requires signatures they are as good as damaged. ONNX Runtime sees neither.
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
    """The file with bytes changed, cut out, doubled or overwritten."""
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
    """With a fingerprint that fits, where there still is a place for one."""
    try:
        start, end = metadata_spans(data, "mutant")[FINGERPRINT_KEY]
        return seal(data[:start] + NO_FINGERPRINT.encode() + data[end:], "mutant")
    except (OdeployError, KeyError):
        return data


def fate(data: bytes, keys: Path) -> str:
    """What a server that requires signatures makes of a file: `served`, or by whom it was refused."""
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
    """Of so many mutants, in children of a few hundred each; a child that does not end well is `crashed`."""
    became = Counter[str]()
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
        became.update(done.stdout.splitlines() if done.returncode == 0 else {"crashed": 1})
    return became


def _child(policy: Path, first: int, number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder)
        write_pair(keys / f"boss{SIGN_PUBLIC}", keys / f"boss{SIGN_SECRET}", *new_pair())
        signed = sign(policy.read_bytes(), read_secret(keys / f"boss{SIGN_SECRET}"), str(policy))
        if fate(signed, keys) != "served":
            raise SystemExit("the untouched file is refused")
        for seed in range(first, first + number):
            mutant = mutated(signed, random.Random(seed))
            mutant = forged(mutant) if seed % 2 else mutant
            # A forger who mends a damaged fingerprint has the file itself again.
            print("the same" if mutant == signed else fate(mutant, keys))


def main() -> None:
    """Prints what became of the mutants."""
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
