"""The projection: SQL tables built from the changelog, which answer searches, lists and reports.

changelog   the source: committed records of `backbeat.state`
follower    the thread that applies them to the tables; resumes, or rebuilds
batch       records -> rows; deactivation, rows, states, statements belong to it
tables      the tables and their indexes, on SQLite and on PostgreSQL
search      filters -> index ranges, conditions, candidates; `ordered` reads them; `lists` has the rest
reader      reads the tables, once they are complete
projection  all of it for the gateway; `process` is a follower alone, `metrics` those of both
"""

from backbeat.gateway.projection.projection import Projection
from backbeat.gateway.projection.reading.filters import Counts, NodeFilters, WorkflowFilters
from backbeat.gateway.projection.storage.database import ProjectionError, ProjectionUnavailable

__all__ = ["Counts", "NodeFilters", "Projection", "ProjectionError", "ProjectionUnavailable", "WorkflowFilters"]
