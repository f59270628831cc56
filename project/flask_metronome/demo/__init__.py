"""A small shop whose chores are scheduled: what the demo and the reference app run."""
