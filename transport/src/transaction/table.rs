//! All transactions of one worker.
