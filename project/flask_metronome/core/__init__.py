"""Pure: cadence, schedule, run states, plan. No I/O, no clock, no framework."""
