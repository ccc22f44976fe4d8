"""ONNX graphs of torch policies.

Owns one file for each form of graph, tracing, and the rewrites of a finished graph.
May import: train, runtime.
"""
