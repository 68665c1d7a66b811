"""Where received bytes wait for the destination: the port (`port`) and its adapters."""
