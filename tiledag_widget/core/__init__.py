"""The pure state machine of a task graph: no threads, input or output, clock, randomness or logging."""
