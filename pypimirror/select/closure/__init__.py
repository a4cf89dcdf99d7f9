"""What else must be mirrored so that what is selected can be installed. Pure."""
