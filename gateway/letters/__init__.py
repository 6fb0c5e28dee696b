"""Dead letters: read backwards from the newest, decoded, sent in again or dropped (docs/how-to/operations.md).

The command line uses `topic`, `resolve` and `content` itself; the gateway's handlers use `letters`, which runs them in
threads.
"""
