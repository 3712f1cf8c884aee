//! The five kinds of cim.dev/v1alpha1, and nothing else.
