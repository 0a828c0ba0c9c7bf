//! Tests of the rules as sequences and tables, apart from the short ones at the foot of
//! each file.

mod bench;
mod forward;
mod journeys;
mod ledger;
mod oracle;
mod pieces;
