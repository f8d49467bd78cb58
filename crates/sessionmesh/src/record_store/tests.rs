use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use sessionmesh_core::id::SessionId;
use sessionmesh_core::session::{Attribute, IdleLimit, Session, ValueBytes};
use sessionmesh_core::stamp::Stamp;

use super::base::{BASE_KEY, Base, base_in, rebase, source_of};
use super::merge::{Puts, added, three_way};
use super::store::is_same_limit;
use super::value::RecordValue;

type Content = BTreeMap<String, Json>;

/// A content, and for each key what a request does to it: nothing, remove, or write.
type Edits = BTreeMap<String, Option<Json>>;

fn session(content: &Content) -> Session {
    let mut session = Session::new(1, IdleLimit { stamp: Stamp::ZERO, ms: 1 });
    put(
        &mut session,
        &content.iter().map(|(k, v)| (Arc::from(&**k), Some(ValueBytes::from(v.to_bytes())))).collect(),
        1,
    );
    session
}

fn put(session: &mut Session, puts: &Puts, counter: u64) {
    for (key, value) in puts {
        let stamp = Stamp { counter, node: 1 };
        session.put(Attribute { key: key.clone(), value: value.clone(), stamp });
    }
}

fn content_of(session: &Session) -> Content {
    session.live().map(|(key, value)| (key.to_string(), Json::from_bytes(value).unwrap())).collect()
}

fn loaded(content: &Content) -> HashMap<String, Json> {
    let mut values = content.clone().into_iter().collect();
    rebase(7, &mut values);
    values
}

fn edited<M: Extend<(String, Json)>>(mut map: M, edits: &Edits, remove: impl Fn(&mut M, &str)) -> M {
    for (key, value) in edits {
        match value {
            Some(value) => map.extend([(key.clone(), value.clone())]),
            None => remove(&mut map, key),
        }
    }
    map
}

fn after(content: &Content, edits: &Edits) -> Content {
    edited(content.clone(), edits, |map, key| drop(map.remove(key)))
}

/// Loads `base`, lets somebody else do `theirs` and this request do `mine`, and saves.
fn saved(base: &Content, theirs: &Edits, mine: &Edits) -> Content {
    let mine = edited(loaded(base), mine, |map, key| drop(map.remove(key)));
    let mut now = session(&after(base, theirs));
    let puts = three_way(base_in(&mine).as_ref(), Some(&now), &mine).unwrap();
    put(&mut now, &puts, 2);
    content_of(&now)
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1e9..1e9).prop_map(|number: f64| json!(number)),
        "[a-zäé\"\\\\]{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::hash_map("[a-c]", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

fn content() -> impl Strategy<Value = Content> {
    prop::collection::btree_map("[a-h]", json_value(), 0..6)
}

fn edits() -> impl Strategy<Value = Edits> {
    prop::collection::btree_map("[a-h]", prop::option::of(json_value()), 0..5)
}

proptest! {
    #[test]
    fn changes_of_different_keys_are_as_if_made_one_after_the_other(base in content(), theirs in edits(), mine in edits()) {
        let theirs: Edits = theirs.into_iter().filter(|(key, _)| !mine.contains_key(key)).collect();
        let expected = after(&after(&base, &theirs), &mine);
        prop_assert_eq!(&after(&after(&base, &mine), &theirs), &expected);
        prop_assert_eq!(saved(&base, &theirs, &mine), expected);
    }

    #[test]
    fn of_the_same_key_mine_wins_where_i_changed_it_and_theirs_where_not(base in content(), theirs in edits(), mine in edits()) {
        let changed = mine.into_iter().filter(|(key, value)| base.get(key) != value.as_ref());
        let mine: Edits = changed.collect();
        prop_assert_eq!(saved(&base, &theirs, &mine), after(&after(&base, &theirs), &mine));
    }

    #[test]
    fn what_was_not_changed_is_not_written(base in content(), theirs in edits()) {
        let mine = loaded(&base);
        let puts = three_way(base_in(&mine).as_ref(), Some(&session(&after(&base, &theirs))), &mine);
        prop_assert_eq!(puts.unwrap(), Puts::new());
    }

    #[test]
    fn a_record_without_a_base_replaces_everything(base in content(), mine in content()) {
        let values: HashMap<String, Json> = mine.clone().into_iter().collect();
        let mut now = session(&base);
        let puts = three_way(None, Some(&now), &values).unwrap();
        put(&mut now, &puts, 2);
        prop_assert_eq!(content_of(&now), mine);
    }

    #[test]
    fn added_is_what_was_not_there_at_all(base in content(), mine in edits()) {
        let values = edited(loaded(&base), &mine, |map, key| drop(map.remove(key)));
        let added = added(&base_in(&values).unwrap(), &values).unwrap();
        let mut keys: Vec<&str> = added.iter().map(|(key, _)| &**key).collect();
        let new = |(key, value): &(&String, &Option<Json>)| value.is_some() && !base.contains_key(*key);
        let mut expected: Vec<&str> = mine.iter().filter(new).map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(keys, expected);
    }

    #[test]
    fn a_base_is_read_as_it_was_written(base in content()) {
        let values = loaded(&base);
        let read = base_in(&values).unwrap();
        prop_assert_eq!(&read, &Base::of(7, read.load, &values));
    }

    #[test]
    fn no_other_text_is_a_base(text in "[A-Za-z0-9_-]{0,120}|.{0,40}") {
        prop_assert_eq!(Base::read(&text), None);
    }

    #[test]
    fn a_damaged_base_counts_as_none(base in content(), at: prop::sample::Index) {
        let text = loaded(&base)[BASE_KEY].as_text().unwrap().to_owned();
        let at = at.index(text.len());
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        prop_assert_eq!(Base::read(&format!("{}{other}{}", &text[..at], &text[at + 1..])), None);
        prop_assert_eq!(Base::read(&text[..at]), None);
    }
}

#[test]
fn the_base_is_neither_stored_nor_an_attribute() {
    let values = HashMap::from([(BASE_KEY.to_owned(), json!({"not": "text"})), ("a".to_owned(), json!(1))]);
    assert_eq!(base_in(&values), None);
    let puts = three_way(None, None, &values).unwrap();
    assert_eq!(puts, [(Arc::from("a"), Some(ValueBytes::from(&b"1"[..])))]);
}

#[test]
fn another_order_of_fields_is_no_change() {
    let loaded = |text: &str| {
        let mut values = HashMap::from([("user".to_owned(), Json::from_bytes(text.as_bytes()).unwrap())]);
        rebase(7, &mut values);
        values
    };
    let (one, other) = (loaded(r#"{"name":"ada","age":36}"#), loaded(r#"{ "age": 36, "name": "ada" }"#));
    assert_eq!(three_way(base_in(&one).as_ref(), None, &other).unwrap(), Puts::new());
}

#[test]
fn json_text_is_kept_as_it_is() {
    let mut values = HashMap::from([("user".to_owned(), r#"{"b":1, "a":2}"#.to_owned())]);
    rebase(7, &mut values);
    let base = base_in(&values).expect("it was just written");
    assert_eq!(three_way(Some(&base), None, &values).unwrap(), Puts::new());
    assert!(serde_json::from_str::<String>(&values[BASE_KEY]).is_ok(), "every entry is JSON");
    values.insert("user".to_owned(), "1".to_owned());
    assert_eq!(
        three_way(Some(&base), None, &values).unwrap(),
        [(Arc::from("user"), Some(ValueBytes::from(&b"1"[..])))]
    );
}

#[test]
fn the_base_does_not_tell_the_session_id() {
    let id = SessionId::from_bytes(*b"a secret id here");
    let mut values = HashMap::from([("a".to_owned(), json!(1))]);
    rebase(source_of(id), &mut values);
    let text = values[BASE_KEY].as_text().unwrap();
    assert!(!text.contains(&id.encode()[..10]), "{text}");
}

#[test]
fn limits_that_differ_by_the_time_of_a_request_are_the_same() {
    assert!(is_same_limit(1_800_000, 1_799_001));
    assert!(!is_same_limit(1_800_000, 1_799_000));
    assert!(is_same_limit(100, 91) && !is_same_limit(100, 90) && !is_same_limit(100, 110));
    assert!(is_same_limit(1, 1) && !is_same_limit(1, 2));
}
