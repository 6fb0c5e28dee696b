"""The engine's process: the Faust app, assignment, lease, watchdog and exit."""
