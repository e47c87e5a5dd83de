"""npm's packages: the lock, the installation, and which of its files go into artifacts."""
