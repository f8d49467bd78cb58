use super::*;
use std::path::Path;

type Set = fn(&mut Config);

/// Each key: as TOML, as a variable, as a field, and then a value that is refused as TOML and as a variable.
#[rustfmt::skip]
const WAYS: &[(&str, &str, &str, Set, &str, &str)] = &[
    ("name", "'web-1'", "web-1", |c| c.name = "web-1".into(), "'web 1'", "web/1"),
    ("cluster", "'shop'", "shop", |c| c.cluster = "shop".into(), "''", ""),
    ("bind", "'127.0.0.1:7700'", "127.0.0.1:7700", |c| c.bind = at("127.0.0.1:7700"), "'localhost:1'", "7700"),
    ("advertise", "'[::1]:7700'", "[::1]:7700", |c| c.advertise = Some(at("[::1]:7700")), "'::1'", ""),
    ("zone", "'b'", "b", |c| c.zone = "b".into(), "'b,c'", "b c"),
    ("mode", "'all-to-all'", "all-to-all", |c| c.mode = Mode::AllToAll, "'AllToAll'", "all"),
    ("backups", "8", "8", |c| c.mode = Mode::PrimaryBackup { backups: 8 }, "9", "0"),
    ("ack", "'copies'", "copies", |c| c.ack = Ack::Copies(1), "'all'", "2"),
    ("ack_copies", "255", "255", |c| c.ack = Ack::Copies(255), "256", "0"),
    ("strict", "true", "true", |c| c.strict = true, "'true'", "yes"),
    ("commit_deadline", "'1s 500ms'", "1500ms", |c| c.commit_deadline = ms(1500), "'49ms'", "61s"),
    ("read_deadline", "'50ms'", "50ms", |c| c.read_deadline = ms(50), "500", "500"),
    ("max_inactive", "'100ms'", "100ms", |c| c.max_inactive = ms(100), "'99ms'", "366days"),
    ("multicast", "false", "false", |c| c.multicast = Some(false), "0", ""),
    ("multicast_group", "'239.1.2.3'", "239.1.2.3", |c| c.multicast_group = ip("239.1.2.3"), "'10.0.0.1'", "ff02::1"),
    ("multicast_port", "5000", "5000", |c| c.multicast_port = 5000, "0", "65536"),
    ("multicast_interface", "'10.0.0.1'", "10.0.0.1", |c| c.multicast_interface = ip("10.0.0.1"), "'eth0'", "eth0"),
    ("multicast_ttl", "0", "0", |c| c.multicast_ttl = 0, "256", "-1"),
    ("seeds", "['a:1', '[::1]:2']", "a:1, [::1]:2", |c| c.seeds = hosts(&["a:1", "[::1]:2"]), "'a:1'", "a"),
    ("dns", "['svc.local:7700']", "svc.local:7700,", |c| c.dns = hosts(&["svc.local:7700"]), "['a:0']", "::1:80"),
    ("gossip_interval", "'20ms'", "20ms", |c| c.gossip_interval = ms(20), "'19ms'", "11s"),
    ("gossip_phi", "12", "12", |c| c.gossip_phi = 12.0, "32.5", "NaN"),
    ("discovery_window", "'0s'", "0s", |c| c.discovery_window = ms(0), "'61s'", "soon"),
    ("min_members", "3", "3", |c| c.min_members = 3, "0", "1025"),
    ("audit_interval", "'1s'", "1s", |c| c.audit_interval = ms(1000), "'999ms'", "25h"),
    ("max_sessions", "10", "10", |c| c.max_sessions = 10, "0", "1e6"),
    ("user_attribute", "'axum-login.data'", "axum-login.data", |c| c.user_attribute = Some("axum-login.data".into()), "''", ""),
    ("user_pointer", "'/user_id'", "/user_id", |c| c.user_pointer = "/user_id".into(), "'user_id'", "/a~2b"),
    ("max_sessions_per_user", "3", "3", |c| c.max_sessions_per_user = 3, "65537", "none"),
    ("max_attributes", "1", "1", |c| c.max_attributes = 1, "-1", "4097"),
    ("max_key_bytes", "64", "64", |c| c.max_key_bytes = 64, "65536", "0"),
    ("max_value_bytes", "1024", "1024", |c| c.max_value_bytes = 1024, "16777217", "1MiB"),
    ("max_session_bytes", "16777216", "16777216", |c| c.max_session_bytes = 16 << 20, "16777217", "0"),
    ("tombstone_retention", "'48h'", "2days", |c| c.tombstone_retention = ms(172_800_000), "'59s'", "366days"),
    ("max_tombstones", "4096", "4096", |c| c.max_tombstones = 4096, "4095", "1e7"),
    ("secret", SECRET_IN_TOML, SECRET, |c| c.secret = vec![Secret::parse(SECRET).unwrap()], "'swordfish'", "swordfish"),
    ("secret_file", "'/run/secret'", "/run/secret", |c| c.secret_file = Some("/run/secret".into()), "''", ""),
    ("tls_cert", "'/run/cert.pem'", "/run/cert.pem", |c| c.tls_cert = Some("/run/cert.pem".into()), "''", ""),
    ("tls_key", "'/run/key.pem'", "/run/key.pem", |c| c.tls_key = Some("/run/key.pem".into()), "''", ""),
    ("tls_ca", "'/run/ca.pem'", "/run/ca.pem", |c| c.tls_ca = Some("/run/ca.pem".into()), "''", ""),
    ("tls_names", "['*.shop', 'spiffe://shop/web']", "*.shop, spiffe://shop/web", |c| c.tls_names = hosts(&["*.shop", "spiffe://shop/web"]), "'*.shop'", "web-*.shop"),
    ("accept_plaintext", "true", "true", |c| c.accept_plaintext = true, "'yes'", "yes"),
    ("insecure", "true", "true", |c| c.insecure = true, "1", "TRUE"),
];

/// Of a test, and of nothing else.
const SECRET: &str = "6bTZ0hS0Iu9vJ5kXqk8wF3oPZrYb2m1cA7dLxNtEgHs=";
const SECRET_IN_TOML: &str = "'6bTZ0hS0Iu9vJ5kXqk8wF3oPZrYb2m1cA7dLxNtEgHs='";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn hosts(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn variable(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.to_ascii_uppercase())
}

fn from_env(name: &str, value: &str) -> Result<Config, ConfigError> {
    Config::default().from_env_over([(name.to_owned(), value.to_owned())])
}

fn named(set: Set) -> Config {
    let mut config = Config { name: "web-1".into(), ..Config::default() };
    set(&mut config);
    config
}

fn refusal(set: Set) -> String {
    named(set).validate().unwrap_err().to_string()
}

fn everything() -> Config {
    let mut all = Config::default();
    WAYS.iter().for_each(|way| way.3(&mut all));
    all.mode = Mode::AllToAll;
    all
}

#[test]
fn every_key_gives_the_same_from_a_file_a_variable_and_a_program() {
    for &(key, in_toml, in_env, set, ..) in WAYS {
        let mut expected = Config::default();
        set(&mut expected);
        assert_ne!(expected, Config::default(), "{key}: the test has to change it");
        // That number counts for this acknowledgement only.
        let base = if key == "ack_copies" { "ack = 'copies'\n" } else { "" };
        assert_eq!(Config::from_toml(&format!("{base}{key} = {in_toml}")).unwrap(), expected, "{key} in TOML");
        let over = Config::from_toml(base).unwrap().from_env_over([(variable(key), in_env.to_owned())]);
        assert_eq!(over.unwrap(), expected, "{key} in the environment");
    }
}

#[test]
fn the_list_of_keys_is_the_list_of_fields() {
    let fields = serde_json::to_value(everything()).unwrap();
    let mut fields: Vec<_> = fields.as_object().unwrap().keys().cloned().collect();
    assert!(!fields.contains(&"secret".to_owned()), "it is never written");
    fields.push("secret".to_owned());
    let mut keys: Vec<_> = KEYS.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, WAYS.iter().map(|way| way.0).collect::<Vec<_>>());
    fields.sort();
    keys.sort();
    assert_eq!(keys, fields);
}

#[test]
fn an_impossible_value_is_refused_with_key_value_range_and_origin() {
    for (&(key, .., bad_toml, bad_env), (_, allowed)) in WAYS.iter().zip(KEYS) {
        if allowed == &Allowed::Secrets {
            continue;
        }
        let table: toml::Table = format!("{key} = {bad_toml}").parse().unwrap();
        let error = Config::from_table(&table, &Origin::from(Path::new("mesh.toml"))).unwrap_err().to_string();
        let value = bad_toml.replace('\'', "\"");
        assert_eq!(error, format!("`{key}` cannot be {value} (from file mesh.toml); allowed is {allowed}"));

        let error = from_env(&variable(key), bad_env).unwrap_err().to_string();
        if allowed == &Allowed::Endpoints {
            assert!(error.contains(key) && error.contains(bad_env) && error.contains("host:port"), "{error}");
        } else {
            let origin = variable(key);
            let expected =
                format!("`{key}` cannot be \"{bad_env}\" (from environment variable {origin}); allowed is {allowed}");
            assert_eq!(error, expected);
        }
    }
}

#[test]
fn both_ends_of_each_range_are_allowed_and_fit_the_field() {
    for &(key, allowed) in KEYS {
        let ends = match allowed {
            Allowed::Count(least, most) => [least.to_string(), most.to_string()],
            Allowed::Time(least, most) => [least, most].map(str::to_owned),
            Allowed::Real(least, most) => [least.to_string(), most.to_string()],
            Allowed::Label { least } if key != "name" => ["x".repeat(least), "x".repeat(64)],
            _ => continue,
        };
        for end in ends {
            from_env(&variable(key), &end).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

#[test]
fn the_program_is_checked_against_the_same_ranges() {
    let expected = "`backups` cannot be 9 (from the program); allowed is a whole number from 1 to 8";
    assert_eq!(refusal(|c| c.mode = Mode::PrimaryBackup { backups: 9 }), expected);
    assert!(refusal(|c| c.gossip_phi = f64::NAN).contains("`gossip_phi` cannot be NaN"));
    assert!(refusal(|c| c.max_inactive = Duration::MAX).contains("`max_inactive`"));
    let broken = Config { max_inactive: Duration::MAX, ..Config::default() };
    assert!(broken.from_env_over([]).is_err(), "an overlay does not repair or panic");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    let error = Config::from_toml("commit_timeout = '1s'").unwrap_err().to_string();
    assert_eq!(error, "unknown key `commit_timeout` in the given TOML text; did you mean `commit_deadline`?");
    let error = Config::from_toml("qqq = 1").unwrap_err().to_string();
    assert_eq!(error, "unknown key `qqq` in the given TOML text");
}

#[test]
fn an_unknown_variable_is_refused_and_foreign_ones_are_skipped() {
    let error = from_env("SESSIONMESH_BACKUP", "2").unwrap_err().to_string();
    assert_eq!(error, "unknown environment variable SESSIONMESH_BACKUP; did you mean `SESSIONMESH_BACKUPS`?");
    assert!(from_env("SESSIONMESH_backups", "2").is_err());
    assert_eq!(from_env("PATH", "/bin").unwrap(), Config::default());
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = Config::from_toml("name = 'a'\nbackups = 3").unwrap();
    let config = config.from_env_over([("SESSIONMESH_NAME".to_owned(), "b".to_owned())]).unwrap();
    assert_eq!((config.name.as_str(), config.mode), ("b", Mode::PrimaryBackup { backups: 3 }));
}

#[test]
fn a_variable_may_choose_the_mode_or_acknowledgement_to_which_a_number_in_the_file_belongs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mesh.toml");
    std::fs::write(&path, "mode = 'all-to-all'\nbackups = 3\nack_copies = 2").unwrap();
    let load = |vars: &[(&str, &str)]| {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::load_with(Some(&path), vars).unwrap();
        (config.mode, config.ack)
    };
    assert_eq!(load(&[]), (Mode::AllToAll, Ack::Owners));
    let chosen = load(&[("SESSIONMESH_MODE", "primary-backup"), ("SESSIONMESH_ACK", "copies")]);
    assert_eq!(chosen, (Mode::PrimaryBackup { backups: 3 }, Ack::Copies(2)));
}

#[test]
fn a_file_is_read_and_named_in_its_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mesh.toml");
    let missing = Config::from_file(&path).unwrap_err().to_string();
    assert!(missing.contains("mesh.toml") && missing.contains("os error"), "{missing}");

    std::fs::write(&path, "name = 'web-1'\nbackups = ").unwrap();
    let syntax = Config::from_file(&path).unwrap_err().to_string();
    assert!(syntax.contains("mesh.toml is not valid TOML") && syntax.contains("line 2"), "{syntax}");

    std::fs::write(&path, "name = 'web-1'").unwrap();
    assert_eq!(Config::load(Some(&path)).unwrap().name, "web-1");
}

#[test]
fn a_program_that_reads_its_file_itself_gets_the_same_errors() {
    let origin = Origin::from(Path::new("mesh.toml"));
    let given = std::collections::BTreeMap::from([("backups", 3)]);
    assert_eq!(Config::from_table(&given, &origin).unwrap().mode, Mode::PrimaryBackup { backups: 3 });
    let error = Config::from_table(&["backups"], &origin).unwrap_err().to_string();
    assert_eq!(error, "file mesh.toml is not a table of settings: it is a single value or a list");

    let theirs = "backups = ".parse::<toml::Table>().unwrap_err();
    let wrong = format!("TOML parse error at line 1, column 11: {}", theirs.message());
    let ours = Config::from_toml("backups = ").unwrap_err().to_string();
    assert_eq!(ours, format!("the given TOML text is not valid TOML: {wrong}"));
    let error = ConfigError::Syntax { origin: origin.clone(), reason: SyntaxError::new(theirs) }.to_string();
    assert_eq!(error, format!("file mesh.toml is not valid TOML: {wrong}"));
    let error = ConfigError::Syntax { origin, reason: SyntaxError::new("of another parser") }.to_string();
    assert_eq!(error, "file mesh.toml is not valid TOML: of another parser");
}

#[test]
fn a_file_with_a_typing_error_does_not_show_its_secret() {
    let secret = Secret::generate().to_text().to_string();
    for text in
        [format!("secret = \"{secret}\n"), format!("secret = '{secret}'\nbackups = "), format!("secret = {secret}")]
    {
        let error = Config::from_toml(&text).unwrap_err();
        assert!(matches!(error, ConfigError::Syntax { .. }) && error.to_string().contains("line "), "{error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(&secret[..16]), "{shown}");
    }
    for text in [format!("[zone]\nsecret = '{secret}'"), format!("[[seeds]]\nsecret = '{secret}'")] {
        let shown = format!("{:?}", Config::from_toml(&text).unwrap_err());
        assert!(shown.contains("a table") && !shown.contains(&secret[..16]), "{shown}");
    }
}

#[test]
fn each_setting_says_where_it_comes_from() {
    let file = Origin::File("node.toml".into());
    let table: toml::Table = "name = 'web-1'\nbackups = 2\nmax_inactive = '30min'\nack_copies = 2".parse().unwrap();
    let secret = Secret::generate().to_text().to_string();
    let variables = [("SESSIONMESH_BACKUPS", "3"), ("SESSIONMESH_SECRET", &secret)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut config = Config::from_table(&table, &file).unwrap().from_env_over(variables).unwrap();
    config.zone = "east".into();
    config.max_sessions = 7;
    let origins = config.origins();
    assert_eq!(origins.len(), KEYS.len());
    assert_eq!(origins["name"], file);
    assert_eq!(origins["max_inactive"], file, "though it is the default");
    assert_eq!(origins["backups"], Origin::Variable("SESSIONMESH_BACKUPS".into()), "a variable is over the file");
    assert_eq!(origins["secret"], Origin::Variable("SESSIONMESH_SECRET".into()));
    assert_eq!((&origins["zone"], &origins["max_sessions"]), (&Origin::Program, &Origin::Program));
    assert_eq!(origins["cluster"], Origin::Default);
    config.name = "web-2".into();
    assert_eq!(config.origins()["name"], Origin::Program, "what was read was replaced");
    let by_program = named(|config| config.secret = Secret::generate().into());
    assert_eq!(by_program.origins()["secret"], Origin::Program);
    assert!(!format!("{config:?}").contains(&secret));
}

#[test]
fn what_is_written_is_read_back() {
    for config in [Config::default(), everything()] {
        let mut config = config;
        config.name = "web-1".into();
        // Secrets are not written.
        config.secret = Vec::new();
        assert_eq!(Config::from_toml(&toml::to_string(&config).unwrap()).unwrap(), config);
        let direct: Config = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(direct, config);
    }
    assert!(toml::from_str::<Config>("backup = 2").is_err(), "a misspelled name is no setting");
}

#[test]
fn defaults_with_a_name_are_valid_and_without_one_are_not() {
    named(|_| ()).validate().unwrap();
    assert!(matches!(Config::default().validate(), Err(ConfigError::NameMissing)));
}

#[test]
fn a_secret_that_cannot_be_used_is_refused_without_being_repeated() {
    let from_toml = |text: &str| Config::from_toml(text).unwrap_err().to_string();
    let from_env = |text: &str| from_env("SESSIONMESH_SECRET", text).unwrap_err().to_string();
    for error in [from_toml("secret = 'swordfish'"), from_toml("secret = ['swordfish']"), from_env("swordfish")] {
        assert!(error.contains("`secret`") && error.contains("sessionmesh keygen"), "{error}");
        assert!(!error.contains("swordfish"), "{error}");
    }
    assert!(from_toml("secret = 7").contains("`secret`"));
    let nine = [SECRET; 9].join(",");
    assert!(from_env(&nine).contains("9 secrets"));
}

#[test]
fn several_secrets_are_a_list_and_no_output_shows_one() {
    let other = Secret::generate();
    let texts = [SECRET.to_owned(), other.to_text().to_string()];
    let in_toml = Config::from_toml(&format!("secret = ['{}', '{}']", texts[0], texts[1])).unwrap();
    assert_eq!(in_toml.secret, [Secret::parse(SECRET).unwrap(), other]);
    assert_eq!(from_env("SESSIONMESH_SECRET", &texts.join(", ")).unwrap(), in_toml);
    let shown = format!("{in_toml:?} {}", serde_json::to_string(&in_toml).unwrap());
    assert!(texts.iter().all(|text| !shown.contains(text.as_str())), "{shown}");
    // Variables are laid over what has a secret, and do not lose it.
    let over = in_toml.clone().from_env_over([("SESSIONMESH_ZONE".to_owned(), "b".to_owned())]).unwrap();
    assert_eq!(over.secret, in_toml.secret);
}

#[test]
fn settings_about_secrets_that_contradict_each_other_are_refused() {
    let error = refusal(|c| {
        c.secret = Secret::generate().into();
        c.secret_file = Some("/run/secret".into());
    });
    assert!(error.contains("`secret`") && error.contains("/run/secret"), "{error}");
    assert!(refusal(|c| c.accept_plaintext = true).contains("`secret_file`"));
}

#[test]
fn certificates_need_all_their_settings_and_multicast_a_secret_beside_them() {
    let certificates = |c: &mut Config| {
        (c.tls_cert, c.tls_key, c.tls_ca) = (Some("/c".into()), Some("/k".into()), Some("/a".into()));
        (c.tls_names, c.bind) = (hosts(&["*.shop"]), at("10.0.0.1:7700"));
    };
    type Change = fn(&mut Config);
    let with = |change: Change| {
        let mut config = Config { seeds: hosts(&["10.0.0.2:7700"]), ..named(|_| ()) };
        certificates(&mut config);
        change(&mut config);
        config.validate().map_err(|error| error.to_string())
    };
    with(|_| ()).unwrap();
    with(|c| (c.seeds, c.secret) = (Vec::new(), Secret::generate().into())).unwrap();
    let changes: [(Change, &str); 6] = [
        (|c| c.tls_cert = None, "`tls_cert`"),
        (|c| c.tls_key = None, "`tls_key`"),
        (|c| c.tls_ca = None, "`tls_ca`"),
        (|c| c.tls_names = Vec::new(), "`tls_names`"),
        (|c| c.seeds = Vec::new(), "`seeds`"),
        (|c| c.multicast = Some(true), "`multicast`"),
    ];
    for (change, part) in changes {
        let refused = with(change).unwrap_err();
        assert!(refused.contains(part), "{refused}");
    }
}

#[test]
fn addresses_beyond_loopback_need_a_secret_or_insecure() {
    for set in
        [(|c: &mut Config| c.secret = Secret::generate().into()) as Set, |c| c.secret_file = Some("/run/secret".into())]
    {
        let mut config = Config { bind: at("10.0.0.1:7700"), ..named(|_| ()) };
        set(&mut config);
        config.validate().unwrap();
    }
    assert!(refusal(|c| c.bind = at("10.0.0.1:7700")).contains("sessionmesh keygen"));
    let error = refusal(|c| c.bind = at("10.0.0.1:7700"));
    assert!(error.starts_with("`bind` = 10.0.0.1:7700") && error.contains("insecure = true"), "{error}");
    assert!(refusal(|c| c.advertise = Some(at("10.0.0.1:7700"))).starts_with("`advertise`"));
    for open in ["10.0.0.1:7700", "[2001:db8::1]:7700"] {
        Config { bind: at(open), insecure: true, ..named(|_| ()) }.validate().unwrap();
    }
    for loopback in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        Config { bind: at(loopback), ..named(|_| ()) }.validate().unwrap();
    }
}

#[test]
fn an_unspecified_address_needs_an_advertised_one() {
    for open in ["0.0.0.0:7700", "[::]:7700"] {
        let mut config = Config { bind: at(open), insecure: true, ..named(|_| ()) };
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(open) && error.contains("`advertise`"), "{error}");
        config.advertise = Some(at("10.0.0.1:0"));
        config.validate().unwrap();
        config.advertise = Some(at(open));
        config.validate().unwrap_err();
    }
}

#[test]
fn an_address_of_another_family_than_the_one_that_is_bound_is_refused() {
    for (bind, advertise) in [("0.0.0.0:7700", "[fd00::7]:7700"), ("[fd00::1]:7700", "10.0.0.1:7700")] {
        let config = Config { bind: at(bind), advertise: Some(at(advertise)), insecure: true, ..named(|_| ()) };
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(bind) && error.contains(advertise) && error.contains("[::]"), "{error}");
    }
    for advertise in ["10.0.0.1:7700", "[fd00::7]:7700"] {
        let config = Config { bind: at("[::]:7700"), advertise: Some(at(advertise)), ..named(|c| c.insecure = true) };
        config.validate().unwrap();
    }
}

#[test]
fn brackets_around_an_address_of_any_family_are_taken_in_the_environment() {
    for (given, meant) in [("[10.1.2.3]:7700", "10.1.2.3:7700"), ("[fd00::7]:7700", "[fd00::7]:7700")] {
        let variables = [("SESSIONMESH_ADVERTISE".to_owned(), given.to_owned())];
        assert_eq!(Config::default().from_env_over(variables).unwrap().advertise, Some(at(meant)));
    }
    let variables = [("SESSIONMESH_ADVERTISE".to_owned(), "[10.1.2.3]".to_owned())];
    Config::default().from_env_over(variables).unwrap_err();
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    assert!(refusal(|c| c.max_session_bytes = 1024).contains("`max_value_bytes` = 1048576"));
    assert!(refusal(|c| c.ack = Ack::Copies(2)).contains("`backups` = 1"));
    named(|c| (c.mode, c.ack) = (Mode::AllToAll, Ack::Copies(2))).validate().unwrap();
}

#[test]
fn a_pointer_needs_an_attribute_to_point_into() {
    assert!(refusal(|c| c.user_pointer = "/user_id".into()).contains("`user_attribute`"));
    named(|c| (c.user_attribute, c.user_pointer) = (Some("data".into()), "/user_id".into())).validate().unwrap();
    named(|c| c.user_attribute = Some("user".into())).validate().unwrap();
}

#[test]
fn multicast_is_on_exactly_when_nothing_else_finds_nodes() {
    assert!(named(|_| ()).multicast_enabled());
    assert!(!named(|c| c.seeds = hosts(&["a:1"])).multicast_enabled());
    assert!(!named(|c| c.dns = hosts(&["a:1"])).multicast_enabled());
    assert!(named(|c| (c.dns, c.multicast) = (hosts(&["a:1"]), Some(true))).multicast_enabled());
    assert!(!named(|c| c.multicast = Some(false)).multicast_enabled());
}

#[test]
fn beacons_use_the_interface_of_the_address_that_the_node_has() {
    let interfaces = |set: Set| named(set).multicast_interfaces();
    assert_eq!(interfaces(|_| ()), [ip("127.0.0.1")], "a default node is on loopback");
    assert_eq!(interfaces(|c| c.bind = at("[::1]:1")), [ip("127.0.0.1")]);
    assert_eq!(interfaces(|c| c.bind = at("10.0.0.1:1")), [ip("10.0.0.1")]);
    assert_eq!(interfaces(|c| c.bind = at("[2001:db8::1]:1")), [ip("0.0.0.0")]);
    assert_eq!(interfaces(|c| c.bind = at("0.0.0.0:1")), [ip("0.0.0.0")]);
    let advertised: Set = |c| (c.bind, c.advertise) = (at("0.0.0.0:1"), Some(at("10.0.0.2:1")));
    assert_eq!(interfaces(advertised), [ip("10.0.0.2"), ip("0.0.0.0")]);
    let set: Set = |c| (c.bind, c.multicast_interface) = (at("10.0.0.1:1"), ip("10.0.0.3"));
    assert_eq!(interfaces(set), [ip("10.0.0.3")]);
}
