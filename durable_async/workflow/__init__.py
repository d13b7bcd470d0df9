"""What an author writes with: the decorators and the calls of a body."""
