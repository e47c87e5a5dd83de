"""The trial of a finished artifact: its handler is imported before anything is published."""
