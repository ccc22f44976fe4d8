"""Sources of policies: our runs, stable-baselines3, torch, TorchScript, ONNX.

Every source gives the same record, `source.Source`. May import: kinds, options, parity, graphs.
"""
