"""Where a policy comes from: our runs, torch modules, TorchScript, ONNX, stable-baselines3.

May import: parity.
"""
