"""The surgery: plans of steps, the runner that orders them, the journal that survives a crash."""
