"""What carries a task graph out on this side: arguments, executors and the driver."""
