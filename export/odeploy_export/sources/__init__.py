"""Where a policy comes from: our runs, stable-baselines3, torch modules, TorchScript, ONNX.

Every source gives the same record, `source.Source`. May import: kinds, options, parity, graphs.
"""
