"""widgets of kalam-jupyter; see ARCHITECTURE.md."""
