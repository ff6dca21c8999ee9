"""The judging half of the instrument: folds what was measured, judges, writes and renders it. Generates nothing."""
