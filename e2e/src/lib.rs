//! A lab of real servers: demo, cases, bench.
