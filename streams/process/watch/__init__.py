"""Watch over an engine process: its watchdog, stalled partitions, metrics, liveness and readiness."""
