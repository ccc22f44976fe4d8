"""The policy types: for each, one record of how its policies are exported.

Owns one file for each type and the table of them, `table.KINDS`. A new type is one file and one row.
May import: options, parity, graphs.
"""
