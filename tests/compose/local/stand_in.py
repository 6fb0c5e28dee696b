"""A stand-in for the engine: what the supervisor sees of one, without Kafka. Behaves as its first argument says."""

import signal
import sys
import time

READY = "backbeat engine ready"


def main() -> None:
    """Run until stopped, or die."""
    behaviour = sys.argv[1]
    if behaviour == "dies":
        print("the disk is full", flush=True)
        sys.exit(3)
    if behaviour == "dies-once-ready":
        print(READY, flush=True)
        sys.exit(4)
    if behaviour == "never-ready":
        print("restoring", flush=True)
    else:
        signal.signal(signal.SIGTERM, lambda *_: (print("ended in order", flush=True), sys.exit(0)))
        print(READY, flush=True)
    time.sleep(600)


main()
