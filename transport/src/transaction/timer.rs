//! Deadlines of one worker: a wheel of lists.
