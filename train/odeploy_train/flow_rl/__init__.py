"""Flow policies trained by reward: FPO, FPO++, DPPO, FM-PPO, FM-A2C.

May import: inverse_rl, on_policy.
"""
