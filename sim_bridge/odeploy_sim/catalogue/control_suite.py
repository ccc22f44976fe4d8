"""Ten tasks of the control suite, and the grid world, of FPO (arXiv 2507.21053)."""

from odeploy_runtime.signals import Signal
from odeploy_sim.catalogue.signal_names import angles, angular_velocities, torques, xyz
from odeploy_sim.tasks.task import Task

GRID_WORLD = Task(
    name="grid-world",
    gym_id="odeploy/GridWorld-v0",
    entry_point="odeploy_sim.environments.grid_world:GridWorldEnv",
    summary="a token crosses 25 × 25 cells to either of two opposite edges; from the middle row both are best",
    observation=(Signal("x", "cell", -12.0, 12.0), Signal("y", "cell", -12.0, 12.0)),
    action=(Signal("move_x", "cell", -1.0, 1.0), Signal("move_y", "cell", -1.0, 1.0)),
    rate_hz=10.0,
    physics_step_s=None,
    horizon=100,
    safe_action=(0.0, 0.0),
    success_key="success",
    paper="FPO: GridWorld, the layout `two_walls` of its code",
    differs="observed in cells from the middle rather than scaled to ±1; the 10 Hz are our choice",
)


def _suite(
    name: str,
    domain: str,
    task: str,
    summary: str,
    keys: tuple[str, ...],
    observation: tuple[Signal, ...],
    action: tuple[Signal, ...],
    *,
    rate_hz: float,
    physics_step_s: float,
    camera: str,
    paper: str,
    differs: str,
) -> Task:
    """Return a task of the suite.

    A tick's reward is at most 1, so a return lies between 0 and 1000.
    """
    return Task(
        name=name,
        gym_id=f"dm_control/{domain}-{task}-v0",
        entry_point="odeploy_sim.suites.control_suite:SuiteEnv",
        make_arguments={"domain": domain, "task": task},
        summary=f"{summary}; scored by the return",
        observation=observation,
        action=action,
        rate_hz=rate_hz,
        physics_step_s=physics_step_s,
        horizon=1000,
        safe_action=(0.0,) * len(action),
        observation_keys=keys,
        paper=f"FPO: {paper}",
        differs=f"dm_control on a CPU rather than MuJoCo Playground on a GPU, {differs}",
        camera=camera,
        thresholds=(250.0, 500.0),
    )


def _slides(names: tuple[str, ...]) -> tuple[Signal, ...]:
    """Return positions along slides, measured from the model's rest position."""
    return tuple(Signal(f"{name}_position", "m") for name in names)


def _slide_velocities(names: tuple[str, ...]) -> tuple[Signal, ...]:
    return tuple(Signal(f"{name}_velocity", "m/s") for name in names)


def _forces(gear: str, names: tuple[str, ...]) -> tuple[Signal, ...]:
    """Return motor commands in units of their gear."""
    return tuple(Signal(f"{name}_force", f"{gear} N", -1.0, 1.0) for name in names)


BALL_IN_CUP = _suite(
    "ball-in-cup",
    "ball_in_cup",
    "catch",
    "a cup swings a ball on a string into itself",
    ("position", "velocity"),
    (*_slides(("cup_x", "cup_z", "ball_x", "ball_z")), *_slide_velocities(("cup_x", "cup_z", "ball_x", "ball_z"))),
    _forces("5", ("cup_x", "cup_z")),
    rate_hz=50.0,
    physics_step_s=0.002,
    camera="cam0",
    paper="BallInCup",
    differs="where every episode starts with the ball at rest below the cup; here its position is drawn",
)

CARTPOLE_BALANCE = _suite(
    "cartpole-balance",
    "cartpole",
    "balance",
    "a cart keeps its pole upright and itself in the middle",
    ("position", "velocity"),
    (
        Signal("slider_position", "m"),
        Signal("hinge_1_cosine", "1", -1.0, 1.0),
        Signal("hinge_1_sine", "1", -1.0, 1.0),
        Signal("slider_velocity", "m/s"),
        *angular_velocities(("hinge_1",)),
    ),
    _forces("10", ("slider",)),
    rate_hz=100.0,
    physics_step_s=0.01,
    camera="fixed",
    paper="CartpoleBalance",
    differs="which integrates by Euler's method; here Runge-Kutta's of order 4",
)

_CHEETAH_GEARS = {"bthigh": 120, "bshin": 90, "bfoot": 60, "fthigh": 90, "fshin": 60, "ffoot": 30}

CHEETAH_RUN = _suite(
    "cheetah-run",
    "cheetah",
    "run",
    "a two-legged robot runs forward in a plane at up to 10 m/s",
    ("position", "velocity"),
    (
        Signal("rootz_position", "m"),
        *angles(("rooty", *_CHEETAH_GEARS)),
        *_slide_velocities(("rootx", "rootz")),
        *angular_velocities(("rooty", *_CHEETAH_GEARS)),
    ),
    torques(_CHEETAH_GEARS),
    rate_hz=100.0,
    physics_step_s=0.01,
    camera="side",
    paper="CheetahRun",
    differs="whose contact solver stops after 4 iterations; here it converges",
)

_FINGER = (
    *angles(("proximal", "distal")),
    Signal("hinge_to_tip_x", "m"),
    Signal("hinge_to_tip_z", "m"),
    *angular_velocities(("proximal", "distal", "hinge")),
    Signal("touchtop_log_force", "ln(1 + N)", 0.0),
    Signal("touchbottom_log_force", "ln(1 + N)", 0.0),
)
_FINGER_DIFFERS = "which steps by 5 ms with pyramidal friction cones; here 10 ms and elliptic ones"

FINGER_SPIN = _suite(
    "finger-spin",
    "finger",
    "spin",
    "a two-jointed finger keeps a body on a hinge spinning faster than 15 rad/s",
    ("position", "velocity", "touch"),
    _FINGER,
    torques({"proximal": 30, "distal": 15}),
    rate_hz=50.0,
    physics_step_s=0.01,
    camera="cam0",
    paper="FingerSpin",
    differs=_FINGER_DIFFERS,
)


def _finger_turn(name: str, task: str, radius_cm: int, paper: str) -> Task:
    return _suite(
        name,
        "finger",
        task,
        f"a two-jointed finger turns a body on a hinge until its tip is within {radius_cm} cm of a target",
        ("position", "velocity", "touch", "target_position", "dist_to_target"),
        (
            *_FINGER,
            Signal("hinge_to_target_x", "m"),
            Signal("hinge_to_target_z", "m"),
            Signal("tip_to_target_surface", "m"),  # negative inside
        ),
        torques({"proximal": 30, "distal": 15}),
        rate_hz=50.0,
        physics_step_s=0.01,
        camera="cam0",
        paper=paper,
        differs=_FINGER_DIFFERS,
    )


FINGER_TURN_EASY = _finger_turn("finger-turn-easy", "turn_easy", 7, "FingerTurnEasy")
FINGER_TURN_HARD = _finger_turn("finger-turn-hard", "turn_hard", 3, "FingerTurnHard")

_FISH_JOINTS = (
    "tail1",
    "tail_twist",
    "tail2",
    "finright_roll",
    "finright_pitch",
    "finleft_roll",
    "finleft_pitch",
)

FISH_SWIM = _suite(
    "fish-swim",
    "fish",
    "swim",
    "a fish swims to a point in the water, belly down",
    ("joint_angles", "upright", "target", "velocity"),
    (
        *angles(_FISH_JOINTS),
        Signal("torso_upright_cosine", "1", -1.0, 1.0),
        *xyz("mouth_to_target", "m"),  # seen by the mouth
        *xyz("torso_velocity", "m/s"),
        *angular_velocities(("torso_x", "torso_y", "torso_z", *_FISH_JOINTS)),
    ),
    # Springs towards the commanded angle; `fins_flap` is half of right roll minus left roll.
    tuple(
        Signal(f"{name}_target_angle", "rad", -1.0, 1.0)
        for name in ("tail1", "tail_twist", "fins_flap", "finleft_pitch", "finright_pitch")
    ),
    rate_hz=25.0,
    physics_step_s=0.004,
    camera="tracking_top",
    paper="FishSwim",
    differs="which steps by 2 ms, has a round torso, and senses uprightness first; here 4 ms and a flat torso",
)

POINT_MASS = _suite(
    "point-mass",
    "point_mass",
    "easy",
    "a ball is pushed over a plane to its middle and kept there",
    ("position", "velocity"),
    (*_slides(("root_x", "root_y")), *_slide_velocities(("root_x", "root_y"))),
    _forces("0.1", ("root_x", "root_y")),
    rate_hz=50.0,
    physics_step_s=0.02,
    camera="fixed",
    paper="PointMass",
    differs="which integrates damping explicitly; here implicitly",
)


def _reacher(name: str, task: str, radius_cm: float, paper: str) -> Task:
    return _suite(
        name,
        "reacher",
        task,
        f"a two-jointed arm in a plane holds its finger in a disc of radius {radius_cm:g} cm",
        ("position", "to_target", "velocity"),
        (
            *angles(("shoulder", "wrist")),
            Signal("finger_to_target_x", "m"),
            Signal("finger_to_target_y", "m"),
            *angular_velocities(("shoulder", "wrist")),
        ),
        tuple(Signal(f"{name}_torque", "0.05 N·m", -1.0, 1.0) for name in ("shoulder", "wrist")),
        rate_hz=50.0,
        physics_step_s=0.02,
        camera="fixed",
        paper=paper,
        differs="which steps by 5 ms; here 20 ms",
    )


REACHER_EASY = _reacher("reacher-easy", "easy", 5, "ReacherEasy")
REACHER_HARD = _reacher("reacher-hard", "hard", 1.5, "ReacherHard")

SUITE = (
    BALL_IN_CUP,
    CARTPOLE_BALANCE,
    CHEETAH_RUN,
    FINGER_SPIN,
    FINGER_TURN_EASY,
    FINGER_TURN_HARD,
    FISH_SWIM,
    POINT_MASS,
    REACHER_EASY,
    REACHER_HARD,
)
