"""What an application uses from outside: `Durable`, handles and queries."""
