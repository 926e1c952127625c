//! The contract that every store must meet.
