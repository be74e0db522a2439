"""The plugin system: hooks, the registry of methods, and how a call passes through them."""
