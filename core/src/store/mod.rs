//! Items held: one merge rule, lives, tiers, quotas, deletions.

mod fill;
mod refusal;

pub use fill::StoreFill;
pub use refusal::Refusal;
