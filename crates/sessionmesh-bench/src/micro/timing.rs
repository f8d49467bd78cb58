//! Times single operations.
//!
//! Not with criterion or divan: both take over `main`, and neither hands its results to the program that runs it
//! (criterion writes them to files of its own, divan only prints them), while they have to stand among the figures of
//! this program, a median for each round. What is taken from them: batches long enough for the clock, medians over batches,
//! inputs made and dropped outside the time, and `black_box`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::report::Figures;

/// A batch is as many operations as take about so long.
const BATCH: Duration = Duration::from_micros(500);
/// Operations in a batch at most, which bounds the inputs that are made in advance.
const BATCH_MAX: u32 = 1 << 14;
/// Operations that are repeated to count allocations.
const COUNTED: u32 = 100;

/// Measures operations, one after the other.
pub(super) struct Timer<'a> {
    pub(super) figures: &'a mut Figures,
    /// How long each operation is repeated.
    pub(super) budget: Duration,
}

impl Timer<'_> {
    /// Times `operation`, each time with a new input. Dropping what it returns is part of it, or else every result would
    /// come to lie in memory that nothing has touched before.
    pub(super) fn time<I, O>(
        &mut self,
        name: &str,
        mut input: impl FnMut() -> I,
        mut operation: impl FnMut(&mut I) -> O,
    ) {
        let mut batch = |count: u32| {
            let mut inputs: Vec<I> = (0..count).map(|_| input()).collect();
            let began = Instant::now();
            for input in &mut inputs {
                black_box(operation(black_box(input)));
            }
            began.elapsed()
        };
        let count = calibrate(&mut batch);
        let until = Instant::now() + self.budget;
        let mut batches = Vec::new();
        while batches.is_empty() || Instant::now() < until {
            batches.push(each(batch(count), count));
        }
        let mut inputs: Vec<I> = (0..COUNTED).map(|_| input()).collect();
        let counted = allocation_counter::measure(|| {
            for input in &mut inputs {
                black_box(operation(input));
            }
        });
        self.note(name, batches, counted);
    }

    /// Times `operation` on the runtime of this thread, which gets its turn after each batch.
    pub(super) fn time_async(
        &mut self,
        name: &str,
        runtime: &tokio::runtime::Runtime,
        mut operation: impl AsyncFnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut repeat = |count: u32| {
            runtime.block_on(async {
                let began = Instant::now();
                for _ in 0..count {
                    operation().await?;
                }
                let elapsed = began.elapsed();
                tokio::task::yield_now().await;
                anyhow::Ok(elapsed)
            })
        };
        let mut failed = Ok(());
        let count = calibrate(|count| {
            repeat(count).unwrap_or_else(|error| {
                failed = Err(error);
                BATCH
            })
        });
        failed?;
        let until = Instant::now() + self.budget;
        let mut batches = Vec::new();
        while batches.is_empty() || Instant::now() < until {
            batches.push(each(repeat(count)?, count));
        }
        let mut done = Ok(Duration::ZERO);
        let counted = allocation_counter::measure(|| done = repeat(COUNTED));
        done?;
        self.note(name, batches, counted);
        Ok(())
    }

    fn note(&mut self, name: &str, mut batches: Vec<f64>, counted: allocation_counter::AllocationInfo) {
        batches.sort_by(f64::total_cmp);
        let name = format!("micro/{name}");
        self.figures.add(format!("{name}/time"), "ns", batches[batches.len() / 2]);
        let per_operation = |total: u64| total as f64 / f64::from(COUNTED);
        self.figures.add(format!("{name}/allocations"), "allocations", per_operation(counted.count_total));
        self.figures.add(format!("{name}/bytes"), "B", per_operation(counted.bytes_total));
    }
}

fn each(elapsed: Duration, count: u32) -> f64 {
    elapsed.as_nanos() as f64 / f64::from(count)
}

/// How many operations make a batch.
fn calibrate(mut batch: impl FnMut(u32) -> Duration) -> u32 {
    let mut count = 1;
    while count < BATCH_MAX && batch(count) < BATCH {
        count *= 2;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_long_enough_or_is_as_large_as_may_be() {
        assert_eq!(calibrate(|count| Duration::from_micros(10) * count), 64);
        assert_eq!(calibrate(|_| Duration::from_secs(1)), 1);
        assert_eq!(calibrate(|_| Duration::ZERO), BATCH_MAX);
    }

    #[test]
    fn only_the_operation_is_timed_and_counted() {
        let mut figures = Figures::default();
        let mut timer = Timer { figures: &mut figures, budget: Duration::from_millis(5) };
        timer.time("boxes", || vec![0_u8; 100], |input| Box::new([input[0]; 32]));
        timer.time("nothing", || (), |_| ());
        assert_eq!(figures.median("micro/boxes/allocations"), Some(1.0));
        assert_eq!(figures.median("micro/boxes/bytes"), Some(32.0));
        assert_eq!(figures.median("micro/nothing/allocations"), Some(0.0));
        assert!(figures.median("micro/boxes/time") > figures.median("micro/nothing/time"));
    }

    #[test]
    fn an_operation_that_fails_ends_the_measurement() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut figures = Figures::default();
        let mut timer = Timer { figures: &mut figures, budget: Duration::from_millis(1) };
        let mut left = 10;
        let failing = async || {
            left -= 1;
            anyhow::ensure!(left > 0, "used up");
            Ok(())
        };
        assert!(timer.time_async("failing", &runtime, failing).is_err());
        assert_eq!(figures.median("micro/failing/time"), None);
    }
}
