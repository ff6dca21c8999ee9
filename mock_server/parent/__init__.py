"""The process above the workers: ports, supervision, and the one place where all workers' metrics are read."""
