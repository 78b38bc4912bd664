"""What one trial is: its configuration, its data, its network and its training.

Plain torch; no Ray, no MLflow, no matplotlib.
"""
