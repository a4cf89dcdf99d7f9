"""Queries of the catalog: one module for each table, or for each question that spans several."""
