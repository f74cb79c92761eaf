"""The producer: reports operations from inside a job. Its calls never wait for the hub or raise errors in the job."""
