"""Prefect tasks: one small module for each stage, around `pypimirror.pipeline`."""
