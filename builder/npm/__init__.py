"""npm's packages: the lock, the installation, what of it goes into artifacts."""
