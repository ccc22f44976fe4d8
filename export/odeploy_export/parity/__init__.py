"""The parity check: ONNX outputs against torch.

May import: graphs.
"""
