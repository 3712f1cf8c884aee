//! Content-addressed objects: CIDs, stores, verified copies, safe deletion.
