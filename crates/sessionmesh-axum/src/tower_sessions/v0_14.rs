//! The trait of tower-sessions 0.14.

super::session_store!(tower_sessions_core_0_14);
