"""Figures that marks of the catalog keep: what was counted or computed, and when."""
