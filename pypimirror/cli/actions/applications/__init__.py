"""What commands do for an application that is to be installed from here: check, relock, init."""
