//! The lab of real servers that the demo, the cases and the bench run in.

pub mod lab;
