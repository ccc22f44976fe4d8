"""The runtime: contracts, inference server, robot client, clock, guard, trace, report. Never torch."""

import logging

logging.getLogger(__name__).addHandler(logging.NullHandler())  # silent in a program that configures no log
