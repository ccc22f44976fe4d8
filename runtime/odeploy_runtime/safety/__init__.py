"""Safety on the robot's side: guard, safety states and operator panel.

May import: realtime.
"""
