"""What the server does with uploads: admission, buffers, receiving, transfer, sessions, progress."""
