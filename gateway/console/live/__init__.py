"""Live updates: which nodes have changed, told to open pages as server-sent events. Hints: pages fetch what they show.

A gateway reads the history topic once for all its pages, only while somebody looks, and only the partitions of the
workflows that are looked at; the engine is asked nothing.
"""
