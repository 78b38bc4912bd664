"""The one home of MLflow: what it has is read, what it is to get is kept on disk until it has it."""
