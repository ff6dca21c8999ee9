"""The system under test that comes with the lab. Knows nothing of Locust, Ansible or Grafana."""
