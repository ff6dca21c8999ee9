"""The control plane: sets the simulated provider while it runs and reads what it gave; both sides of the socket."""
