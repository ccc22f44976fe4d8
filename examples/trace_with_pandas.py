"""A trace in pandas: python trace_with_pandas.py RUN.trace."""

import sys

import pandas

import odeploy

if __name__ == "__main__":
    trace = odeploy.read_trace(sys.argv[1])  # or the .parquet that `odeploy sim --parquet` writes
    ticks = pandas.DataFrame(trace.columns())
    answered = ticks[ticks.arrived_ns > 0]
    round_trip_us = (answered.arrived_ns - answered.sent_ns) / 1e3
    print(round_trip_us.describe(percentiles=[0.5, 0.99]))
    print(ticks.filter(regex=r"^(observation|action)\.").describe())
    print("ticks by safety state:", ticks.groupby("state").size().to_dict())
