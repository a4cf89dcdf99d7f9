"""The closure in a run: read the requirements of files, and mirror the projects that they need."""
