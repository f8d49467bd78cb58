//! What a run measured, and how it is told: figures, goals, tables, plots.

mod chapter;
mod figures;
mod goal;
mod machine;
mod page;
mod plot;

pub(crate) use chapter::{Chapter, Table};
pub(crate) use figures::Figures;
pub(crate) use goal::{Bound, Goal};
pub(crate) use machine::Machine;
pub(crate) use page::Page;
pub(crate) use plot::{Plot, Shape};
