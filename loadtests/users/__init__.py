"""What clients do: one behaviour a file, named by its file. Knows neither schedule nor statistics."""
