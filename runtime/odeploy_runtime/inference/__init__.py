"""Running a policy file: ONNX Runtime and native backends, and the state a policy keeps between ticks.

May import: policy_file.
"""
