//! Three nodes in one process.
use std::time::{Duration, Instant};
use sessionmesh::{Discovery, Mesh, ModeName};

async fn node(name: &str, seeds: &[String], mode: ModeName) -> Mesh {
    Mesh::builder().name(name).mode(mode).discovery(Discovery::seeds(seeds.to_vec())).start().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_read_on_every_node() {
    for mode in [ModeName::PrimaryBackup, ModeName::AllToAll] {
        let t = Instant::now();
        let a = node("a", &["127.0.0.1:1".into()], mode).await;
        eprintln!("a started {:?}", t.elapsed());
        let seeds = [a.addr().to_string()];
        let b = node("b", &seeds, mode).await;
        let c = node("c", &seeds, mode).await;
        eprintln!("started {:?}", t.elapsed());
        for m in [&a, &b, &c] { tokio::time::timeout(Duration::from_secs(5), m.ready()).await.unwrap(); }
        eprintln!("ready {:?} {:?}", t.elapsed(), a.members().len());
        while ![&a,&b,&c].iter().all(|m| m.members().len() == 3) { tokio::time::sleep(Duration::from_millis(10)).await; }
        eprintln!("3 members {:?}", t.elapsed());
        let t = Instant::now();
        for i in 0..1000 {
            let s = a.create().await.unwrap();
            s.insert("user", &format!("ada{i}")).unwrap();
            let c1 = s.commit().await.unwrap();
            assert!(c1.copies >= 1);
            for m in [&b, &c] {
                let r = m.load(s.id()).await.unwrap().unwrap();
                assert_eq!(r.get::<String>("user").unwrap().unwrap(), format!("ada{i}"));
            }
        }
        eprintln!("1000 in {:?}", t.elapsed());
        let missing = a.create().await.unwrap().id();
        let t = Instant::now();
        assert!(b.load(missing).await.unwrap().is_none());
        eprintln!("miss in {:?}", t.elapsed());
        eprintln!("{:#?}", a.stats());
        for m in [&c, &b] {
            let t = Instant::now();
            m.leave(Duration::from_secs(5)).await.unwrap();
            eprintln!("left in {:?}", t.elapsed());
        }
        eprintln!("{:#?}", a.stats());
        assert_eq!(a.stats().sessions, 1000);
    }
}
