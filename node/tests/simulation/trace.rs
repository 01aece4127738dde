//! What happened: the last of it for who reads a failure, and a sum of all of it, which two runs of one seed
//! must have in common.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Lines that are kept.
const LINES_MAX: usize = 150;

/// What happened in a run.
pub struct Trace {
    lines: VecDeque<String>,
    sum: u64,
    loud: bool,
}

impl Trace {
    pub fn new(loud: bool) -> Trace {
        Trace {
            lines: VecDeque::new(),
            sum: 0,
            loud,
        }
    }

    /// Something happened.
    pub fn note(&mut self, now_ms: u64, text: impl FnOnce() -> String) {
        let line = format!("{:>8.3} {}", now_ms as f64 / 1_000.0, text());
        self.sum = xxh3_64_with_seed(line.as_bytes(), self.sum);
        if self.loud {
            println!("{line} #{:08x}", self.sum as u32);
        }
        if self.lines.len() >= LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Bytes came or went.
    pub fn mix(&mut self, to: u64, from: u64, bytes: &[u8]) {
        self.sum = xxh3_64_with_seed(bytes, self.sum ^ (to << 32) ^ from);
    }

    /// The sum of everything so far.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The end of it.
    pub fn end(&self) -> impl Iterator<Item = &String> {
        self.lines.iter()
    }
}
