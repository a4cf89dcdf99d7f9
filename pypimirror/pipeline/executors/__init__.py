"""Where the workers of a run work: in this process, in child processes, on other machines."""
