//! Randomness, from the browser's cryptographic generator.

use crate::ports::Entropy;

/// `crypto.getRandomValues`.
pub(super) struct BrowserEntropy;

impl Entropy for BrowserEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if getrandom::fill(bytes).is_err() {
            // Without randomness keys could be guessed: better no server than that.
            std::process::abort();
        }
    }
}
