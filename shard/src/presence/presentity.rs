//! Everything kept for one address.
