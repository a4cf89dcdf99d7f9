"""Asking a resolver which releases go together: uv, as a child process."""
