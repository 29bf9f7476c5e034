//! The node's behaviour, rule by rule (numbers are those of the design, section 3).

mod asking;
mod boundaries;
mod bounds_alone;
mod clocks;
mod concurrent_puts;
mod counts;
mod evidence;
mod full_node_switch;
mod hand;
mod hidden_rules;
mod journal;
mod lessons;
mod life;
mod loading;
mod marks;
mod net;
mod operations;
mod peers;
mod pressure;
mod proof;
mod put_outcomes;
mod reads;
mod replication;
mod serving;
mod slow_handlers;
mod upkeep;
