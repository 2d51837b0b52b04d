"""engine of kalam-jupyter; see ARCHITECTURE.md."""
