"""How rows become records, and values what Python has: for the modules of the catalog alone."""
