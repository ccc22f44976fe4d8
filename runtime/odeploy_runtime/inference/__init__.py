"""Running a policy file: the `Policy` protocol, its two backends, and the state of one robot's policy.

May import: policy_file and every room below it.
"""
