"""Export: a trained policy becomes one self-describing ONNX file, or is refused."""
