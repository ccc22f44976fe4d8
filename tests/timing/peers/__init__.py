"""odeploy beside other ways to serve one policy, in turns on one machine. `make peers` runs it.

Each peer is a server and a robot in an environment of its own. All robots run the loop of `tick.py`. All servers
but odeploy's native one answer from the same ONNX Runtime session, and all actions must agree.
"""
