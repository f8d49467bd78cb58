//! The store for tower-sessions, through the real session layer on an axum router, in both versions.

pub(crate) mod app;
mod behaviours;
mod blind;
mod refused;
mod renewals;
mod users;

/// The tests of one case, a function over the version, with both versions.
macro_rules! with_both_versions {
    ($case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn tower_sessions_0_14() {
            super::cases::$case::<crate::tower_sessions::app::V0_14>().await;
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn tower_sessions_0_15() {
            super::cases::$case::<crate::tower_sessions::app::V0_15>().await;
        }
    };
}
pub(crate) use with_both_versions;

/// Runs each case with both versions.
macro_rules! in_both_versions {
    ($($case:ident),* $(,)?) => {
        $(mod $case {
            crate::tower_sessions::with_both_versions!($case);
        })*
    };
}
use in_both_versions;
