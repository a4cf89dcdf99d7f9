"""A run's part of the closure: it reads what files require, and brings here what is needed."""
