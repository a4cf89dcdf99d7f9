"""Prefect tasks: one thin module a stage, around `pypimirror.pipeline`."""
