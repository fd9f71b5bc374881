"""What every page of catdog is made of: the shell, its style and its script, and a template a page."""
