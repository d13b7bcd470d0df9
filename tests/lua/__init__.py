"""One file per transition, and what holds for all of them."""
