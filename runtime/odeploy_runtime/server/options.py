"""Options of an inference server."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a server treats its robots.

    Attributes:
        max_rate_hz: accepted messages of one connection [1/s]; more are dropped and counted.
        max_load: share of a core that the answers of streams may take, with those of requests; a stream that
            would exceed it is refused.
        pre_touch: run two dummy inferences shortly before each expected observation.
        out_of_range_widths: distance beyond the exported range of a signal, in widths of that range, from which on
            an observation is out of range.
        refuse_out_of_range: answer such an observation with an error, instead of an action with a flag.
    """

    max_rate_hz: float = 10_000.0
    max_load: float = 0.5
    pre_touch: bool = True
    out_of_range_widths: float = 1.0
    refuse_out_of_range: bool = False
