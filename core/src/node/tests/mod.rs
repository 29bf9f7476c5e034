//! The node's behaviour, rule by rule (numbers are those of the design, section 3).

mod journal;
mod net;
mod operations;
