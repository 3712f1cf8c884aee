//! Placeholder of the scaffold; replaced by the first feature.
fn main() {}
