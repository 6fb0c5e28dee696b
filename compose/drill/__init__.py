"""`backbeat drill`: faults injected into a running Backbeat, watched, ended and reported; a playbook that certifies it.

A run is made of plays. The *tower* (`tower`) has a *topology* (processes of its own on loopback, or those that a file
names), puts a *load* on it (payments, each written down when it is asked for, taken and paid), and plays one play after
another: it signs an order for a *capsule*, a process on the target's host, which injects one *fault* and takes it back
when its time is over, when it is told to, or when the tower is gone. Meanwhile the *watch* samples metrics and compares
them with the play's bounds; what goes beyond them ends the fault. The *report* has all of it, and the verdict of
`backbeat verify` in the end. Read `plays/play.py` and `tower.py` first.
"""
