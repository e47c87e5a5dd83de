"""SAM and CloudFormation templates as descriptions of a project: read like a build file, and written back."""
