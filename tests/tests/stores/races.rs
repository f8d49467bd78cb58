//! What stock stores get wrong: requests of one visitor at the same time, on one node and on several.

use crate::adapter::with_every_adapter;

mod cases {
    use sessionmesh_testkit::browser::{App, Browser};
    use sessionmesh_testkit::cluster::Cluster;
    use sessionmesh_testkit::gate::Gate;

    use crate::adapter::{Adapter, during, start, visitor_with};

    /// One node; two, which both hold everything; four, of which some only pass on.
    const SIZES: [usize; 3] = [1, 2, 4];

    fn live(cluster: &Cluster) -> usize {
        cluster.nodes().iter().map(|node| node.stats().sessions).sum()
    }

    /// The slow request on `a` writes one entry, the other on `b` another. Returns what is then read of the quick one's.
    async fn both_writes(a: &impl App, b: &impl App, gate: &Gate) -> [String; 2] {
        let visitor = visitor_with(a, "user").await;
        let mut other = visitor.clone();
        let mut slow = during(a, gate, &visitor, "/slow_put?key=slow&value=1", async {
            other.text(b, "/put?key=quick&value=1").await;
            other.text(b, "/remove?key=user").await;
        })
        .await;
        assert_eq!(other.cookies, visitor.cookies);
        assert_eq!(slow.text(a, "/get?key=slow").await, "1");
        [other.text(b, "/get?key=quick").await, other.text(b, "/get?key=user").await]
    }

    pub(super) async fn parallel_requests_that_write_different_entries_keep_both<A: Adapter>() {
        for nodes in SIZES {
            let (_cluster, apps, gate) = start::<A>(nodes).await;
            for b in &apps {
                assert_eq!(both_writes(&apps[0], b, &gate).await, ["1", "none"], "{nodes} nodes");
            }
        }
    }

    pub(super) async fn a_stock_store_loses_one_of_them<A: Adapter>() {
        let gate = Gate::default();
        let stock = A::stock(&gate).await;
        assert_eq!(both_writes(&stock, &stock, &gate).await, ["none", "1"]);
    }

    pub(super) async fn of_many_requests_at_once_no_write_is_lost<A: Adapter>() {
        for nodes in SIZES {
            let (_cluster, apps, _) = start::<A>(nodes).await;
            let visitor = visitor_with(&apps[0], "user").await;
            let write = async |number: usize| {
                let mut visitor = visitor.clone();
                visitor.text(&apps[number % nodes], &format!("/put?key=k{number}&value={number}")).await;
            };
            futures::future::join_all((0..32).map(write)).await;
            for number in 0..32 {
                let read = visitor.clone().text(&apps[(number + 1) % nodes], &format!("/get?key=k{number}")).await;
                assert_eq!(read, number.to_string(), "{nodes} nodes");
            }
        }
    }

    /// A slow request on `a` writes after a logout on `b`. Returns its visitor, before and after.
    async fn late_save(a: &impl App, b: &impl App, gate: &Gate) -> (Browser, Browser) {
        let visitor = visitor_with(a, "user").await;
        let mut other = visitor.clone();
        let late = during(a, gate, &visitor, "/slow_put?key=late&value=1", async {
            other.text(b, "/logout").await;
        })
        .await;
        (visitor, late)
    }

    pub(super) async fn a_slow_request_that_saves_after_a_logout_revives_nothing<A: Adapter>() {
        for nodes in SIZES {
            let (cluster, apps, gate) = start::<A>(nodes).await;
            for b in &apps {
                let (before, mut late) = late_save(&apps[0], b, &gate).await;
                assert_eq!(late.cookies, before.cookies, "no new id");
                assert_eq!(late.text(b, "/get?key=user").await, "none", "{nodes} nodes");
            }
            assert_eq!(live(&cluster), 0);
        }
    }

    pub(super) async fn a_stock_store_logs_in_again<A: Adapter>() {
        let gate = Gate::default();
        let stock = A::stock(&gate).await;
        let (before, mut late) = late_save(&stock, &stock, &gate).await;
        assert_eq!(late.cookies == before.cookies, A::STOCK_KEEPS_THE_ID);
        assert_eq!(late.text(&stock, "/get?key=user").await, "1");
    }

    pub(super) async fn a_logout_on_one_node_holds_on_the_others_at_once<A: Adapter>() {
        let (_cluster, apps, _) = start::<A>(4).await;
        for round in 0..8 {
            let mut visitor = visitor_with(&apps[round % 4], "user").await;
            let thief = visitor.clone();
            assert_eq!(thief.clone().text(&apps[(round + 1) % 4], "/get?key=user").await, "1");
            visitor.text(&apps[round % 4], "/logout").await;
            for app in &apps {
                assert_eq!(thief.clone().text(app, "/get?key=user").await, "none", "round {round}");
            }
        }
    }

    pub(super) async fn an_id_that_was_renewed_on_one_node_is_refused_on_the_others<A: Adapter>() {
        let (_cluster, apps, _) = start::<A>(4).await;
        for round in 0..8 {
            let mut visitor = visitor_with(&apps[round % 4], "user").await;
            let mut old = visitor.clone();
            visitor.text(&apps[(round / 2) % 4], "/renew").await;
            assert_ne!(visitor.cookies, old.cookies);
            for app in &apps {
                assert_eq!(old.clone().text(app, "/get?key=user").await, "none", "round {round}");
                assert_eq!(visitor.text(app, "/get?key=user").await, "1", "round {round}");
            }
            old.text(&apps[0], "/put?key=late&value=1").await;
            assert_eq!(visitor.text(&apps[0], "/get?key=late").await, "none", "round {round}");
        }
    }

    pub(super) async fn a_write_is_read_on_the_node_that_a_redirect_leads_to<A: Adapter>() {
        let (_cluster, apps, _) = start::<A>(4).await;
        for round in 0..12 {
            let mut visitor = Browser::default();
            let (a, b) = (&apps[round % 4], &apps[(round + 1 + round / 4) % 4]);
            visitor.text(a, &format!("/put?key=order&value={round}")).await;
            assert_eq!(visitor.text(b, "/get?key=order").await, round.to_string());
            visitor.text(b, &format!("/put?key=order&value={}", round + 100)).await;
            assert_eq!(visitor.text(a, "/get?key=order").await, (round + 100).to_string());
        }
    }

    pub(super) async fn what_others_wrote_before_a_renewal_goes_along<A: Adapter>() {
        for nodes in SIZES {
            let (_cluster, apps, gate) = start::<A>(nodes).await;
            for b in &apps {
                let visitor = visitor_with(&apps[0], "cart").await;
                let mut other = visitor.clone();
                let mut renewed = during(&apps[0], &gate, &visitor, "/slow_login", async {
                    other.text(b, "/put?key=theirs&value=1").await;
                    other.text(b, "/remove?key=cart").await;
                })
                .await;
                assert_ne!(renewed.cookies, visitor.cookies);
                assert_eq!(renewed.text(b, "/get?key=theirs").await, "1", "{nodes} nodes");
                assert_eq!(renewed.text(b, "/get?key=cart").await, "none", "{nodes} nodes");
                assert_eq!(renewed.text(b, "/get?key=user").await, "1", "{nodes} nodes");
            }
        }
    }

    pub(super) async fn a_logout_before_a_renewal_wins_on_every_node<A: Adapter>() {
        for nodes in SIZES {
            let (cluster, apps, gate) = start::<A>(nodes).await;
            for b in &apps {
                let visitor = visitor_with(&apps[0], "user").await;
                let mut other = visitor.clone();
                let mut renewed = during(&apps[0], &gate, &visitor, "/slow_renew", async {
                    other.text(b, "/logout").await;
                })
                .await;
                assert_eq!(live(&cluster), 0, "{nodes} nodes");
                assert_eq!(renewed.text(b, "/get?key=user").await, "none", "{nodes} nodes");
            }
            assert_eq!(live(&cluster), 0, "{nodes} nodes");
        }
    }
}

with_every_adapter!(
    parallel_requests_that_write_different_entries_keep_both,
    a_stock_store_loses_one_of_them,
    of_many_requests_at_once_no_write_is_lost,
    a_slow_request_that_saves_after_a_logout_revives_nothing,
    a_stock_store_logs_in_again,
    a_logout_on_one_node_holds_on_the_others_at_once,
    an_id_that_was_renewed_on_one_node_is_refused_on_the_others,
    a_write_is_read_on_the_node_that_a_redirect_leads_to,
    what_others_wrote_before_a_renewal_goes_along,
    a_logout_before_a_renewal_wins_on_every_node,
);
