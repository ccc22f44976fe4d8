"""Mutated messages at the decoder: each decodes to a message or raises a WireError.

python -m tests.faults.fuzz_wire 1000000
"""

import random
import resource
import sys
import time
from collections import Counter

import msgpack

from odeploy_runtime.errors import WireError
from odeploy_runtime.transport import messages

NAMES = [f"joint_{i}" for i in range(12)]
MESSAGES: tuple[messages.Message, ...] = (
    messages.Hello(1, "robot", "hopper", 100.0, 7, NAMES, NAMES[:3], "stream"),
    messages.Ready(1, 2**47, "policy", "f" * 64, 100.0, 8),
    messages.Refused("a reason"),
    messages.Observation(2**47, 3, 4000, 2**40, bytes(48)),
    messages.Action(2**47, 3, 4000, 1, 0, 2**40, 2**40, 2**40, 2**40, bytes(96)),
    messages.Error(4000, 3, "joint_2"),
    messages.Bye(2**47),
    messages.Ping(1),
    messages.Health(1, 1, "policy", "f" * 64, 1, 2**40, 3, 2**30, 5, 6),
)
_SEEDS = [messages.pack(message) for message in MESSAGES]
_BOMBS = [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9", b"\x91" * 40, b"\x81\xa1k" * 40, b"\xd9", b"\xcf"]


def mutated(rng: random.Random) -> bytes:
    """Return a valid message with bytes changed, deleted, duplicated or inserted, or a value replaced."""
    frame = bytearray(rng.choice(_SEEDS))
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(frame) + 1)
        match rng.randrange(6):
            case 0 if place < len(frame):
                frame[place] ^= 1 << rng.randrange(8)
            case 1:
                del frame[place : place + rng.randint(1, 8)]
            case 2:
                frame[place:place] = frame[place : place + rng.randint(1, 16)]
            case 3:
                frame[place:place] = rng.choice(_BOMBS) + rng.randbytes(rng.randint(0, 5))
            case 4:
                frame[place:place] = rng.randbytes(rng.randint(1, 16))
            case _:
                frame[place : place + 1] = msgpack.packb(rng.choice([None, -1, 2**64 - 1, 0.5, "x", [], {}, b""]))
    return bytes(frame)


def fuzz(count: int, seed: int) -> Counter[str]:
    """Decode `count` mutated messages; return how many gave each message type or were refused."""
    rng, results = random.Random(seed), Counter[str]()
    for _ in range(count):
        try:
            results[type(messages.unpack(mutated(rng))).__name__] += 1
        except WireError:
            results["refused"] += 1
    return results


def main() -> None:
    """Print the results, the time and the memory used."""
    count, start = int(sys.argv[1]), time.monotonic()
    fuzz(10_000, 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = fuzz(count, 1)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        f"{count:,} in {time.monotonic() - start:.0f} s, peak memory +{grown} KiB: {dict(results.most_common())}"
    )


if __name__ == "__main__":
    main()
