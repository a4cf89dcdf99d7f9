"""Lock files: what each format names, read into one form (`lock`, `registry`)."""
