"""Apache Kafka's jars and the Java that runs them: found, or downloaded into the cache folder."""
