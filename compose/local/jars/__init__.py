"""Apache Kafka's jars and the Java that runs them: local ones, or downloads into the cache folder."""
