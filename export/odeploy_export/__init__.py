"""Export of trained policies to self-describing ONNX files.

The file is written only if it computes what the policy computes.
"""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent in a program that configures no log
