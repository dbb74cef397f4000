"""The origin: settles claims exactly once, keeps the stock true, publishes it. A stateless shell over PostgreSQL."""
