"""Backup of a live installation to files, and its restore into an empty cluster.

A consistent point on a live cluster
------------------------------------
A backup is what the topics would hold had all engines been killed at one moment. Engines know how to go on from that:

1.  The changelog is read as read_committed to its last stable offset. Its newest values are each partition's state at
    the position in its meta record; whatever the commands below that position have sent is in the topics by then.
2.  Then the groups' positions and the ends of signals and activities are noted, then the ends of the commands. So each
    signal that counts as taken has its command in the backup, and each activity that a committed command has sent is
    there; a command behind the position sends its activity again, since the restored engine applies it again.
3.  The ends of the commands are not of one moment: a command may be the effect of one that another partition's end has
    left out. Its source's offset will be another command's after a restore, whose effect would then be dropped as a
    repeat. So the ends are lowered until no command is the effect of one that is left out (`cut`).

Offsets are part of the state: commands name the offset of the command whose effect they are, payloads are found by
theirs. A restore gives every record of these topics its old offset, and its old time. What cannot be kept is the id of
the topic of commands: the meta records get the new one.
"""
