//! Categories and what is computed from them (MS-PRES 2.2.2.7, 3.8): one machine, publish documents in, one's own
//! data out. The cases of section 4.3 in our own words, the same cases as the project's shared folder has
//! them, and thousands of cases by chance against a naive reading of the text.
//!
//! `LAMPLIGHT_SEEDS=n` runs n seeds instead of 1,500, `LAMPLIGHT_SEED=x` only that one; a failure prints its
//! seed. `LAMPLIGHT_SHARED=FOLDER` says where the shared folder is.

mod categories;
mod clauses;
mod model;
mod random;
mod reading;
mod shape;
mod stage;
mod vectors;
mod walkthroughs;
