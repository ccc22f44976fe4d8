"""Traces of runs: format, reader, writers, writer process and flight recorder.

May import: safety and realtime.
"""
