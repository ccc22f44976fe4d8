"""Export of trained policies to self-describing ONNX files.

The file is written only if it computes what the policy computes.
"""

import logging

import odeploy_runtime  # noqa: F401 - before ONNX Runtime, whose telemetry it turns off

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent in a program that configures no log
