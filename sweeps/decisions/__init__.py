"""What is decided, and nothing else: no Ray, no MLflow, no files, no clock."""
