"""Components of a project, their keys, their zips, and the checks of finished artifacts."""
