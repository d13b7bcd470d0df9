"""Durable execution for asyncio, on nothing but Redis or Valkey."""
