"""Metrics of a mirror for Prometheus."""
