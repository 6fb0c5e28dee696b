"""What an application puts around its handlers: a lifespan, middleware."""
