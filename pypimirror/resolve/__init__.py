"""Asks a resolver which releases fit together: uv or pip, as child processes."""
