"""The runtime: contracts, inference server, robot client, clock, guard, trace, report. Never torch."""
