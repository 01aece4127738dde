//! What an operator sees: events, metrics, health, the admin listener.
