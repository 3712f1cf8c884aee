//! The name hierarchy of a Domain, its selectors and its resolver.
