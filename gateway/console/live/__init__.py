"""Live updates: which nodes and jobs have changed, told to open pages as server-sent events.

They are hints: pages fetch what they show.

A gateway reads the history topic once for all its pages, only while somebody looks, and only the partitions of the
workflows that are looked at; the engine is asked nothing. Jobs are in no topic: while somebody looks at some, they are
asked for once for all pages.
"""
