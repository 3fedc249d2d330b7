"""The station's face in a notebook: needs `pip install pacskit[lab]`; nothing below imports this."""
