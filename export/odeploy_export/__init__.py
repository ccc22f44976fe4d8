"""Export: a trained policy becomes one self-describing ONNX file, if the file computes what the policy does."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent in a program that configures no log
