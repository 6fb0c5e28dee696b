"""An independent judge: the log of commands, folded by a naive reading of the rules, against the changelog.

It shares no code with `streams/core`: it reads Avro by fastavro from the .avsc files, and stored records as the
msgpack arrays that they are, and keeps a workflow as plain lists. Only `replay` imports the core: it runs that itself.

A consistent point on a live cluster
------------------------------------
A partition's state is a function of its own log alone: what other partitions tell it comes as commands of that log.
And each commit of an engine writes, in one transaction, a partition's changed records together with its meta record,
which has the position in the log (`next_offset`). So:

1.  The changelog is read as read_committed to its last stable offset. Below that offset every transaction is decided
    and whole, so the newest value of each key is the state of one moment, and the meta record says which: the position.
    This also holds while engines commit, die or give partitions to each other.
2.  Only then is the log read. The records below the position are folded and compared. Those behind it were not
    committed and are judged by the next run.
3.  What the rules have a command send to another partition (the closing of a link, a slot, the rest of its work) must
    be in the log by then: a commit begins with a flush of all that was sent. So the log is read to its end as of a
    moment after 1, for sends that are missing, and for some that no rule calls for.

Compaction while the changelog is read removes a value only where a newer one of the key stands behind it, and the
changelog is read on until nothing was written meanwhile, or for the newest end thrice.
"""
