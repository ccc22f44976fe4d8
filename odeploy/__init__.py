"""odeploy: ODE policies, deployed."""
