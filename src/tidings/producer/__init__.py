"""The producer's side: reporting from inside a job, which must never wait for it."""
