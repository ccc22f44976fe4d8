"""The runtime: policy files, inference server, robot loop, guard, traces and reports; imports no torch."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent in a program that configures no log
