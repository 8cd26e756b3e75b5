"""The embedded task-graph server."""
