"""Results of runs: latency, bench results, tables, plots, HTML report, replay.

May import: every room of the runtime but cli.
"""
