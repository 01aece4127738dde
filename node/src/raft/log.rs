//! The write-ahead log: one file set per node, shared by all groups.
