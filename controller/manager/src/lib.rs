//! The controller: watches, reconcilers, status.
