"""The runtime: policy files, server, robot loop, guard, traces, reports; no torch."""

import logging
import os

# ONNX Runtime 1.32 and later would look up a host, and write a database and a device id to the user's folders. It
# reads this once, when it is imported; every module of ours that imports it comes after this line.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent in a program that configures no log
