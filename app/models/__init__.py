"""Models: where the weights come from, whether they are whole, and how they run."""
