"""What a user types → bytes: from files, folders, lists, URLs and standard input."""
