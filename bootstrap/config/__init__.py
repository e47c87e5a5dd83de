"""config.ini: from its lines to one frozen value."""
