//! Credits: what an account has, what it used, what each request was charged, and what requests cost.
//!
//! In: filters in the address. Out: one page, read in one round; the charges, and a month's statement, as files.
//!
//! Not here: any change. Whoever may look sees everything.

mod download;
mod figures;
mod filter;
mod grants;
mod lines;
mod page;
mod plans;
mod prices;
mod statements;
mod then;
mod then_use;
mod used;

pub(super) use download::download;
pub(super) use grants::listed;
pub(super) use page::show;
pub(super) use plans::PlanRow;
pub(super) use statements::{statement_csv, statement_parquet};
pub(super) use then::then;
