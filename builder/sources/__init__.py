"""Where a project comes from: git, archives, directories; fetched, checked out and unpacked safely."""
