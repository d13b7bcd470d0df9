"""Models of the protocol, and what is held against them."""
