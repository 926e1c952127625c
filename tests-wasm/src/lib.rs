//! Tests of Inglenook that run in real browsers; everything is in `tests/` and `browser/`.
