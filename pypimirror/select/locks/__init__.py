"""Lock files of several formats, read into one form (`lock`, `registry`)."""
