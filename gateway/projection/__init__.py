"""The projection: what the search, the lists and the reports are answered from, in SQL.

changelog   what is read: committed records of `backbeat.state`
follower    the thread that brings them into the tables; resumes, or begins anew
batch       some records -> rows; settling, rows, states, statements belong to it
tables      the tables and their indexes, on SQLite and on PostgreSQL
search      filters -> index ranges, conditions, candidates; `ordered` reads them; `lists` is the rest
reading     who answers from the tables, where they are whole
projection  all of it, as the gateway uses it; `process` is a follower alone, `metrics` what both show of themselves
"""

from backbeat.gateway.projection.projection import Projection
from backbeat.gateway.projection.reading.filters import Counts, NodeFilters, WorkflowFilters
from backbeat.gateway.projection.storage.database import ProjectionError, ProjectionUnavailable

__all__ = ["Counts", "NodeFilters", "Projection", "ProjectionError", "ProjectionUnavailable", "WorkflowFilters"]
