//! Nodes in processes of their own, alone or behind balancers. They take turns, by a file, so that one cluster of processes
//! runs at a time on the whole machine: see `Turn`.

mod balancer_crash;
mod balancer_crash_under_load;
mod balancer_rolling_restart;
mod balancer_sticky;
mod busy_host;
mod cable_pulled;
mod donor_dies;
mod drain_under_reads;
mod exit_codes;
mod few_descriptors;
mod frozen_owner;
mod kill9_loses_nothing;
mod log_cannot_be_written;
mod multicast_interfaces;
mod name_taken;
mod no_false_alarm;
mod primary_crash;
mod process_death_is_noticed;
mod quick_restart;
mod replaced_life;
mod rolling_change_of_copies;
mod ten_nodes;
