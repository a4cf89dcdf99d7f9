"""What Prometheus is told of a mirror."""
