//! huopan.

fn main() {}
