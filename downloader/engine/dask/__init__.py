"""Running a job on worker processes, through Dask."""
