"""One look for HTML and console: plots and pages."""
