"""Metric training: embeddings in which images of one class lie near each other and those of others far."""
