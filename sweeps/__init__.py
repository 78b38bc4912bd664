"""The service: studies, and how they run on Ray and are kept in MLflow."""
