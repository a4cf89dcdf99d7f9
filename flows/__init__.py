"""Prefect flows. The order of the stages is defined in `pypimirror.pipeline`."""
