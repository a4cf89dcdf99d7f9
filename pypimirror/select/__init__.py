"""What is mirrored: `[select]`, read and decided. Pure but for the lists that it names as files."""
