"""Commands that run a process until it is stopped: engine, gateway, worker, projection, and all of them."""
