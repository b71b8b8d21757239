//! The rules, one by one: what one peer says, what all hear.

mod rig;
mod rules;
mod table;
