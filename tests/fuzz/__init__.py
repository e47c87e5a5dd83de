"""Every parser of outside input, given real inputs that were damaged: a value or an error of ours, and nothing else."""
