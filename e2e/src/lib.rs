//! The lab of real servers that the demo, the cases and the bench run in.
//!
//! ```text
//! lab     the servers, in namespaces of their own
//! home    the Domain of `examples/home/` in a lab, kept by the controller
//! story   what is shown of it, step by step
//! ```

pub mod home;
pub mod lab;
pub mod story;
