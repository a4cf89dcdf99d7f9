"""Prefect flows: which stages run, in which order. The order itself is `pypimirror.pipeline`'."""
