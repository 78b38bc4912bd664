"""What one asks of trained models: arrays in, tables and figures out. No Ray, no MLflow."""
