//! What a node, its relays and their peers say to each other. No input or output happens here.

pub mod key_name;
pub mod x_matrix;
