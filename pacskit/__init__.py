"""pacskit (being put together)."""
