"""What a sentence may say: differences with what they vary by, nulls, and tests, of arrays alone."""
