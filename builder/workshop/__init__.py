"""What building needs besides the project: commands, caches, tools."""
