//! Mistakes that nobody planted: small changes of the library's source, kept as text beside it, and made in a copy of it.
//!
//! The list is in `mutants/`. All of them are built into one program, in which a condition chooses at run time which one is
//! made (*mutant schemata*: R. Untch, J. Offutt, M. J. Harrold, "Mutation analysis using mutant schemata", 1993), so that 79
//! mutants cost one build and not 79.
//!
//! - [`list`]: the mutants, read from their files.
//! - [`tree`]: the copy of the source with all of them in it.

pub mod list;
pub mod tree;
