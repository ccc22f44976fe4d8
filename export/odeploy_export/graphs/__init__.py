"""ONNX graphs: what each policy kind becomes, tracing, rewrites.

May import: training, the runtime.
"""
