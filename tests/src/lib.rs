//! Helpers shared by the tests from outside.
