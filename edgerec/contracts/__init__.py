"""What a plugin provides, the hooks it implements, and the host that finds and checks it."""
