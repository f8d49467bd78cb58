//! The trait of tower-sessions 0.15.

super::session_store!(tower_sessions_core_0_15);
