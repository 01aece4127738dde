//! node.toml and flags into checked types.
