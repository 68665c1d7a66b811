"""Routes by resource, authentication, problem documents."""
