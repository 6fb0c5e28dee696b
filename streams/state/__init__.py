"""The state of partitions: RocksDB, timers, the commit and the restore from the changelog."""
