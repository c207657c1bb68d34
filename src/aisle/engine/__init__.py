"""Who does the work of a job: processes of this machine, or of others."""
