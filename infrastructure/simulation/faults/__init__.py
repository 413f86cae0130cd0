"""Simulation of faults: schedules from a seed, their run, and the oracle that judges it."""
