"""The engine: receives jobs from the parent, and decides which request comes next."""
