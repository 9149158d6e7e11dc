"""Stores on other people's libraries; each is imported by its own name, and needs the extra of that name."""
