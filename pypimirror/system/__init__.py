"""The machine: processes, signals, memory, files, free space. Knows nothing of mirrors."""
