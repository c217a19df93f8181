"""What must happen after a commit: at least once, in order for each subject."""
