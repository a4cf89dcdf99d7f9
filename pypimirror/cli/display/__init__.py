"""What people see: tables, progress, causes, amounts."""
