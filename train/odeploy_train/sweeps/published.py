"""Scores published by the papers' authors, for the column beside ours: data.

They come from other environments, sizes and budgets, and were not measured here.
"""

PUBLISHED: dict[str, dict[str, float]] = {
    # FM-IRL (arXiv 2510.09222), the table in its authors' repository; 4 seeds.
    "ant-goal": {
        "DRAIL": 0.714, "GAIL": 0.647, "WAIL": 0.613, "VAIL": 0.766, "AIRL": 0.547, "DP": 0.821, "FP": 0.833,
        "FM-IRL": 0.823,
    },
    "maze-medium": {
        "DRAIL": 0.778, "GAIL": 0.690, "WAIL": 0.298, "VAIL": 0.636, "AIRL": 0.824, "DP": 0.562, "FP": 0.542,
        "FM-IRL": 0.873,
    },
    "hand-rotate": {
        "DRAIL": 0.778, "GAIL": 0.932, "WAIL": 0.237, "VAIL": 0.569, "AIRL": 0.460, "DP": 0.907, "FP": 0.903,
        "FM-IRL": 0.979,
    },
    "fetch-pick": {
        "DRAIL": 0.705, "GAIL": 0.280, "WAIL": 0, "VAIL": 0.854, "AIRL": 0, "DP": 0.830, "FP": 0.546,
        "FM-IRL": 0.998,
    },
    "hopper": {
        "DRAIL": 3183, "GAIL": 2922, "WAIL": 2609, "VAIL": 2878, "AIRL": 8, "DP": 1433, "FP": 1950,
        "FM-IRL": 3359,
    },
    "walker2d": {
        "DRAIL": 3123, "GAIL": 1698, "WAIL": 1729, "VAIL": 1157, "AIRL": -5, "DP": 2204, "FP": 2385,
        "FM-IRL": 4164,
    },
}  # fmt: skip
