"""Templates, style and script of the inbox. All of it is served by the inbox itself, nothing from elsewhere."""
