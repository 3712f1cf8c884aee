//! DNS zones: observe by AXFR, plan, apply by signed update, verify.
