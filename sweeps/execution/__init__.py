"""The one home of Ray: trials on shared workers, analyses as tasks, and what passes between them and the driver."""
