"""INI, flags and environment in; frozen settings out. Rooms above import only `config.settings`."""
