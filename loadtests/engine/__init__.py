"""The generating process: load, clocks and counts, as adapters around Locust and gevent. Judges nothing."""
