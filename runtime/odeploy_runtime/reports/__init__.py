"""Latency statistics, tables, plots and the HTML report.

May import: robot, trace.
"""
