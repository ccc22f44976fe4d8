"""Flow policies trained by reward: FPO, FPO++, DPPO, FM-PPO, FM-A2C.

Imports inverse_rl, on_policy, runs, policies and modules.
"""
