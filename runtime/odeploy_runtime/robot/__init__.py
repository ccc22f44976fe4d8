"""The robot side: control loop, plant, client, connection, chunk playback.

May import: everything in the runtime but reports and cli. Of server and inference only what runs a policy in the
robot's own process, and only when such a policy is connected.
"""
