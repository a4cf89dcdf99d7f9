"""Counted or computed figures that marks of the catalog keep, each with its time."""
