"""The runtime: policy files, server, robot loop, guard, traces, reports; no torch."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent in a program that configures no log
