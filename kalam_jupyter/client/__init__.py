"""client of kalam-jupyter; see ARCHITECTURE.md."""
