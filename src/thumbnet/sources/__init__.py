"""What a user types → bytes: files, folders, lists, URLs and standard input."""
