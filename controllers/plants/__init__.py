"""Plants, linear and simulated, and the simulation of a loop around one."""
