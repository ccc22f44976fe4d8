"""Traces: format, reader, writer, writer process, flight recorder.

May import: safety, transport.
"""
