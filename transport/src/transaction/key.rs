//! What matches a message to its transaction, with and without a branch.
