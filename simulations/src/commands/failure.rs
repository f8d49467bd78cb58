//! A broken promise as text: what broke, in which scenario, and how to see it again.

use sessionmesh_simulations::oracle::Violation;

use super::arguments::Named;

/// All that somebody needs who sees nothing but this.
pub(super) fn text(named: &Named, violation: &Violation) -> String {
    let Named { scenario, name } = named;
    let Violation { promise, detail, at_ms } = violation;
    format!(
        "\
BROKEN PROMISE of seed {} at {at_ms} ms: {promise}
  {detail}
the scenario:
{scenario}\
replay it: cargo run --release -- replay {name}
shrink it: cargo run --release -- shrink {name}
",
        scenario.seed
    )
}
