//! Tells people when the settings of members differ, and when they agree again.

use sessionmesh_core::coverage::{self, Path};
use sessionmesh_core::placement::view::View;
use sessionmesh_core::terms::Difference;

use crate::event::Event;

/// The differences that were told.
#[derive(Debug, Default)]
pub(crate) struct Differences(Vec<Difference>);

impl Differences {
    /// Tells what is different from now on or no longer.
    pub(crate) fn look_at(&mut self, view: &View, emit: impl Fn(Event)) {
        let (begun, over) = self.change_to(Difference::all(view));
        coverage::reached_if(Path::SettingsDiffer, || !begun.is_empty());
        for difference in begun {
            emit(Event::SettingDiffers { setting: difference.setting, values: difference.to_string() });
        }
        for setting in over {
            emit(Event::SettingAgrees { setting });
        }
    }

    /// What is new, and which settings are the same again. Who has which value may change without a word.
    fn change_to(&mut self, found: Vec<Difference>) -> (Vec<Difference>, Vec<&'static str>) {
        let is_new = |one: &&Difference| self.0.iter().all(|other| !other.has_values_of(one));
        let begun = found.iter().filter(is_new).cloned().collect();
        let differed = self.0.iter().map(|before| before.setting);
        let over = differed.filter(|setting| found.iter().all(|now| now.setting != *setting)).collect();
        self.0 = found;
        (begun, over)
    }
}

#[cfg(test)]
mod tests {
    use sessionmesh_core::placement::view::{Member, MemberState};
    use sessionmesh_core::terms::{Mode, Terms};

    use super::*;
    use crate::config::{Config, KEYS};

    fn member(at: usize, terms: Terms) -> Member {
        Member {
            name: at.to_string().into(),
            incarnation: 1,
            addr: "127.0.0.1:4000".parse().expect("an address"),
            zone: "".into(),
            state: MemberState::Ready,
            terms,
        }
    }

    /// A view of nodes by their numbers of backups.
    fn view(backups: &[u8]) -> View {
        let terms = |backups| {
            let mut config = Config::default();
            config.mode = Mode::PrimaryBackup { backups };
            config.terms(0)
        };
        View::new(backups.iter().enumerate().map(|(at, backups)| member(at, terms(*backups))))
    }

    #[test]
    fn every_difference_names_a_setting() {
        let other = "2 1 1 1 1 1 1 1 1 1 1 1".parse().expect("terms");
        let found = Difference::all(&View::new([member(0, Config::default().terms(0)), member(1, other)]));
        assert_eq!(found.len(), 12);
        for difference in found {
            assert!(KEYS.iter().any(|(key, _)| *key == difference.setting), "{difference}");
        }
    }

    #[test]
    fn a_rolling_restart_is_told_once_when_it_begins_and_once_when_it_is_over() {
        let mut told = Differences::default();
        let mut news = |backups: &[u8]| {
            let (begun, over) = told.change_to(Difference::all(&view(backups)));
            (begun.len(), over)
        };
        assert_eq!(news(&[1, 1, 1]), (0, vec![]));
        assert_eq!(news(&[1, 1, 2]), (1, vec![]));
        assert_eq!(news(&[1, 2]), (0, vec![]), "a node left for a moment");
        assert_eq!(news(&[1, 2, 2]), (0, vec![]));
        assert_eq!(news(&[1, 2, 3]), (1, vec![]), "a third value");
        assert_eq!(news(&[2, 2, 2]), (0, vec!["mode"]));
        assert_eq!(news(&[2, 2]), (0, vec![]));
    }
}
