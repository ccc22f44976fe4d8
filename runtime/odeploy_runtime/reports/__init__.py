"""Results of runs: latency statistics, bench results, tables, plots, the HTML report, replay of traces.

May import: every room of the runtime but cli.
"""
