//! Enums with a name and a sentence for each variant.

/// An enum without data and the table of its variants. The doc comment of a variant is also its explanation.
macro_rules! table {
    ($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $what:literal])+ $variant:ident = $text:literal,)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $what])+ $variant),* }

        impl $name {
            /// All of them in the order of their definition: each with its name and what it is.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $text, concat!($($what),+).trim_ascii())),*];

            /// Its name, in words with hyphens between them.
            #[must_use]
            pub const fn name(self) -> &'static str {
                Self::ALL[self as usize].1
            }

            /// What it is, in one sentence.
            #[must_use]
            pub const fn what(self) -> &'static str {
                Self::ALL[self as usize].2
            }

            /// The one of this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|(_, known, _)| *known == name).map(|(found, _, _)| *found)
            }
        }
    };
}

pub(crate) use table;
