//! Random bits for tags, drawn from the operating system a page at a time.

/// Numbers drawn per system call: 512 × 8 bytes is one page.
const DRAWN: usize = 512;

/// 64-bit numbers that nobody can guess.
#[derive(Debug)]
pub struct Chance {
    drawn: Vec<u8>,
}

impl Chance {
    /// Nothing drawn yet.
    #[must_use]
    pub fn new() -> Chance {
        Chance { drawn: Vec::new() }
    }

    /// The next number.
    ///
    /// # Panics
    /// When the operating system has no randomness: nothing safe can be done without.
    pub fn draw(&mut self) -> u64 {
        if self.drawn.is_empty() {
            self.drawn.resize(DRAWN * 8, 0);
            getrandom::fill(&mut self.drawn).expect("the operating system gives random bytes");
        }
        let at = self.drawn.len() - 8;
        let number = self.drawn[at..]
            .try_into()
            .map(u64::from_le_bytes)
            .expect("eight bytes");
        self.drawn.truncate(at);
        number
    }
}

impl Default for Chance {
    fn default() -> Chance {
        Chance::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_number_comes_twice() {
        let mut chance = Chance::new();
        let drawn: BTreeSet<u64> = (0..3 * DRAWN).map(|_| chance.draw()).collect();
        assert_eq!(drawn.len(), 3 * DRAWN);
    }
}
