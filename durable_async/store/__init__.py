"""Everything that knows Redis: keys, scripts, transport and the store itself. Nothing here knows what a workflow is."""
