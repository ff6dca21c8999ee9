"""Plots as inline SVG text: numbers to coordinates, styled by the classes of the report's one style sheet."""
