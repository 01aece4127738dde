//! A cursor over borrowed XML; fragments that stand alone; no DTDs.
