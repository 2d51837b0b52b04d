"""magics of kalam-jupyter; see ARCHITECTURE.md."""
