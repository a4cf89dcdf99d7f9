"""The machine: processes, signals, memory, files, free space. It knows nothing of mirrors."""
