"""The mapping between rows, records and Python values. Only modules of the catalog use it."""
