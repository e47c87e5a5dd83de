"""Processes, files and memory as the kernel has them: started, watched, ended, removed."""
